"""<vlan>: the VLAN tags of an interface, a network or a portgroup.

Source: libvirt 9.0 formatdomain, "Setting VLAN tag (on supported network types only)".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from conf.errors import ConfError
from conf.mapper import attribute, children, element
from conf.types.bool import yes_no
from conf.types.enum import one_of
from conf.types.integer import uint

HIGHEST_TAG: Final = 4095  # IEEE 802.1Q: 12 bits


@element("tag")
@dataclass(slots=True, kw_only=True)
class VlanTag:
    """<tag>."""

    id: int = attribute("@id", read=uint, default=0, required=True)
    native_mode: str | None = attribute("@nativeMode", read=one_of("tagged", "untagged"))


@element("vlan")
@dataclass(slots=True, kw_only=True)
class Vlan:
    """<vlan>; more than one tag makes a trunk."""

    trunk: bool | None = attribute(
        "@trunk", read=lambda value: yes_no(value.lower()), empty_is_absent=True, omit=False
    )
    tags: list[VlanTag] = children("tag", VlanTag)

    def after_read(self) -> None:
        """Take more than one tag for a trunk.

        Raises:
            ConfError: "xml": there is no tag, or tags contradict each other or trunk='no'.
        """
        if not self.tags:
            detail = "missing tag id - each <vlan> must have at least one <tag id='n'/> subelement"
            raise ConfError("xml", detail, "vlan/tag")
        for tag in self.tags:
            if tag.id > HIGHEST_TAG:
                detail = f"vlan tag id {tag.id} too large (maximum {HIGHEST_TAG})"
                raise ConfError("xml", detail, "vlan/tag/@id")
        native = [tag for tag in self.tags if tag.native_mode is not None]
        if len(native) > 1:
            raise ConfError("xml", "duplicate native vlan setting", "vlan/tag/@nativeMode")
        if self.trunk is False and len(self.tags) > 1:
            detail = (
                "invalid \"trunk='no'\" in <vlan> - trunk='yes' is required for more than one "
                "vlan tag"
            )
            raise ConfError("xml", detail, "vlan/@trunk")
        if self.trunk is False and native:
            detail = (
                "invalid configuration in <vlan> - \"trunk='no'\" is not allowed with a native "
                "vlan id"
            )
            raise ConfError("xml", detail, "vlan/@trunk")
        self.trunk = True if len(self.tags) > 1 else self.trunk
