"""The notation of liblxc's configuration: a setting a line.

Owns: writing it so that no word from a document becomes a line of its own. Pure.
"""

from __future__ import annotations

from conf.errors import ConfError


def setting(key: str, value: str, element: str) -> str:
    """One line.

    Args:
        key: ours.
        value: perhaps the document's.
        element: the element that it is from, for the refusal.

    Raises:
        ConfError: "config_unsupported": it holds a character that ends a line, or begins or ends
            with space or a quote, which liblxc takes away.
    """
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        detail = f"liblxc cannot be told of a control character, as in {value!r}"
        raise ConfError("config_unsupported", detail, element)
    if value != value.strip() or (value and value[0] in "\"'" and value[-1] == value[0]):
        detail = f"liblxc cannot be told of space or quotes around a word, as in {value!r}"
        raise ConfError("config_unsupported", detail, element)
    return f"{key} = {value}"


def mount_field(path: str, element: str) -> str:
    """A word of a mount entry, as getmntent(3) reads it.

    "#" is written as it is, for no escape of it is undone (measured with glibc 2.36); only at the
    start of an entry it would be a comment.

    Raises:
        ConfError: "config_unsupported": it has a control character, or is empty.
    """
    if not path or any(ord(character) < 32 or ord(character) == 127 for character in path):
        detail = f"liblxc cannot be told of the path {path!r}"
        raise ConfError("config_unsupported", detail, element)
    escaped = path.replace("\\", "\\134").replace(" ", "\\040")
    return f"./{escaped}" if escaped.startswith("#") else escaped
