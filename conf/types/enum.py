"""Closed sets of strings: the values that an enumerated attribute can have.

Owns: their reader. Pure. A set that code branches on is a `StrEnum` beside its model instead.
"""

from __future__ import annotations

from dataclasses import dataclass

from conf.errors import ConfError


@dataclass(frozen=True, slots=True)
class OneOf:
    """Reader of an attribute that has one of `values`."""

    values: tuple[str, ...]
    unknown: str = ""  # libvirt's message for other values, with {}; "" is the mapper's own
    kind: str = "config_unsupported"  # of that refusal

    def __call__(self, text: str) -> str:
        """Read the value.

        Raises:
            ValueError: it is not one of them, and there is no message for that.
            ConfError: it is not one of them.
        """
        if text in self.values:
            return text
        if self.unknown:
            raise ConfError(self.kind, self.unknown.format(text))
        raise ValueError(text)


def one_of(*values: str, unknown: str = "", kind: str = "config_unsupported") -> OneOf:
    """Make a reader of an attribute that has one of these values.

    libvirt reads enumerations in two ways. Those converted to virXMLPropEnum refuse with
    XML_ERROR "Invalid value for attribute": the default here. Older ones have a message of their
    own, mostly with CONFIG_UNSUPPORTED.

    Args:
        values: what is allowed.
        unknown: that message, with {} in the place of the value.
        kind: the kind of the `ConfError` with that message.
    """
    return OneOf(values, unknown, kind)
