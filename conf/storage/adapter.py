"""<adapter>: the SCSI host whose disks are a pool's volumes.

Owns: the model, and what in it is refused.
Source: libvirt 9.0 formatstorage, "Source elements".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from conf.errors import ConfError
from conf.mapper import attribute, child, element
from conf.types.bool import yes_no
from conf.types.enum import one_of
from conf.types.integer import hexadecimal, unsigned, unsigned_any

_WWN: Final = re.compile("[0-9a-fA-F]{16}")


def wwn(text: str) -> str:
    """Read a world wide name: 16 hexadecimal digits.

    Raises:
        ConfError: "internal": it is none.
    """
    if not _WWN.fullmatch(text):
        raise ConfError("internal", f"Malformed wwn: {text}; it has 16 hexadecimal digits")
    return text


@element("address")
@dataclass(slots=True, kw_only=True)
class HostPciAddress:
    """<address>: a place on the host's PCI bus."""

    domain: int = attribute("@domain", read=unsigned_any, write=hexadecimal(4), default=0)
    bus: int = attribute("@bus", read=unsigned_any, write=hexadecimal(2), default=0)
    slot: int = attribute("@slot", read=unsigned_any, write=hexadecimal(2), default=0)
    function: int = attribute("@function", read=unsigned_any, write=hexadecimal(1), default=0)


@element("parentaddr")
@dataclass(slots=True, kw_only=True)
class ParentAddress:
    """<parentaddr>: the PCI device that a SCSI host belongs to."""

    unique_id: int | None = attribute("@unique_id", read=unsigned)
    address: HostPciAddress | None = child("address", HostPciAddress)


@element("adapter")
@dataclass(slots=True, kw_only=True)
class Adapter:
    """<adapter>."""

    type: str = attribute("@type", read=one_of("scsi_host", "fc_host"), default="scsi_host")
    name: str | None = attribute("@name")
    parent: str | None = attribute("@parent")
    managed: bool | None = attribute("@managed", read=yes_no)
    parent_wwnn: str | None = attribute("@parent_wwnn", read=wwn)
    parent_wwpn: str | None = attribute("@parent_wwpn", read=wwn)
    parent_fabric_wwn: str | None = attribute("@parent_fabric_wwn", read=wwn)
    wwnn: str | None = attribute("@wwnn", read=wwn)
    wwpn: str | None = attribute("@wwpn", read=wwn)
    parent_address: ParentAddress | None = child("parentaddr", ParentAddress)

    def after_read(self) -> None:
        """Refuse one that names no host."""
        if self.type == "fc_host":
            self._check_names()
        elif self.parent_address is not None:
            if self.parent_address.unique_id is None:
                raise _wrong("Missing or invalid scsi adapter 'unique_id' value")
        elif self.name is None:
            raise _wrong("Either 'name' or 'parent' must be specified for the 'scsi_host' adapter")

    def _check_names(self) -> None:
        if not self.wwnn or not self.wwpn:
            raise _wrong("'wwnn' and 'wwpn' must be specified for adapter type 'fc_host'")
        if (self.parent_wwnn is None) != (self.parent_wwpn is None):
            given, other = ("parent_wwnn", "parent_wwpn")
            if self.parent_wwnn is None:
                given, other = other, given
            value = self.parent_wwnn or self.parent_wwpn
            raise _wrong(f"when providing {given}='{value}', the {other} must also be provided")


def _wrong(detail: str) -> ConfError:
    return ConfError("xml", detail, "source/adapter")
