"""ConfError, the exception of `conf`: invalid XML, an invalid value or a refused request.

Owns: `ConfError`. Services turn it into a `VirError`; `kind` says with which of libvirt's codes.
May touch: nothing.
"""

from __future__ import annotations


class ConfError(Exception):
    """A refusal.

    Args:
        kind: the libvirt code's name in lower case: "xml", "config_unsupported", "internal",
            "invalid_arg", …
        message: names the thing, what is wrong, what to do.
        path: of the element in the XML or of the file, where one is known.
    """

    def __init__(self, kind: str, message: str, path: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.path = path
