"""Escaping for lxc.container.conf(5): one setting a line.

Owns: that no value of the XML can add a line or a field. Pure.
"""

from __future__ import annotations

from conf.errors import ConfError


def setting(key: str, value: str, element: str) -> str:
    """Write one line of the configuration file.

    Args:
        key: the setting's name.
        value: may be from the XML.
        element: the XML element of the value, for the error.

    Raises:
        ConfError: "config_unsupported": it has a control character, or space or quotes
            around it, which liblxc strips.
    """
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        detail = f"liblxc's configuration cannot hold a control character: {value!r}"
        raise ConfError("config_unsupported", detail, element)
    if value != value.strip() or (value and value[0] in "\"'" and value[-1] == value[0]):
        detail = f"liblxc's configuration cannot hold space or quotes around a value: {value!r}"
        raise ConfError("config_unsupported", detail, element)
    return f"{key} = {value}"


def mount_field(path: str, element: str) -> str:
    """Escape a field of a mount entry as getmntent(3) reads it.

    "#" is written as it is, for no escape of it is undone (measured with glibc 2.36); only at the
    start of an entry it would be a comment.

    Raises:
        ConfError: "config_unsupported": it has a control character, or is empty.
    """
    if not path or any(ord(character) < 32 or ord(character) == 127 for character in path):
        detail = f"liblxc's configuration cannot hold the path {path!r}"
        raise ConfError("config_unsupported", detail, element)
    escaped = path.replace("\\", "\\134").replace(" ", "\\040")
    return f"./{escaped}" if escaped.startswith("#") else escaped
