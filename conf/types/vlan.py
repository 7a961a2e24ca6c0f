"""<vlan>: the VLAN tags of an interface, a network or a portgroup.

Source: libvirt 9.0 formatdomain, "Setting VLAN tag (on supported network types only)".
"""

from __future__ import annotations

from dataclasses import dataclass

from conf.errors import ConfError
from conf.mapper import attribute, children, element
from conf.types.bool import yes_no
from conf.types.enum import one_of
from conf.types.integer import unsigned


@element("tag")
@dataclass(slots=True, kw_only=True)
class VlanTag:
    """<tag>."""

    id: int = attribute("@id", read=unsigned, default=0, required=True)
    native_mode: str | None = attribute("@nativeMode", read=one_of("tagged", "untagged"))


@element("vlan")
@dataclass(slots=True, kw_only=True)
class Vlan:
    """<vlan>; more than one tag makes a trunk."""

    trunk: bool | None = attribute("@trunk", read=yes_no, empty_is_absent=True)
    tags: list[VlanTag] = children("tag", VlanTag)

    def after_read(self) -> None:
        """Take more than one tag for a trunk.

        Raises:
            ConfError: "xml": there is no tag.
        """
        if not self.tags:
            detail = "missing tag id - each <vlan> must have at least one <tag id='n'/> subelement"
            raise ConfError("xml", detail, "vlan/tag")
        if len(self.tags) > 1 and self.trunk is None:
            self.trunk = True
