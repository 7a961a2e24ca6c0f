"""<virtualport>: how a switch (802.1Qbg, 802.1Qbh, Open vSwitch, MidoNet) treats an interface.

Source: libvirt 9.0 formatnetwork, "Using an openvswitch bridge" and "802.1Qbh"; formatdomain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from conf.errors import ConfError
from conf.mapper import attribute, element
from conf.types.enum import one_of
from conf.types.integer import c_integer
from conf.types.uuid import parse_uuid

TYPES: Final = one_of(
    "802.1Qbg", "802.1Qbh", "openvswitch", "midonet", unknown="unknown virtualport type {}"
)
#: The highest number of each parameter: those fields have 8 and 24 bits (IEEE 802.1Qbg), and
#: what libvirt says of a higher one.
HIGHEST: Final = {
    "managerid": (0xFF, "value of managerid out of range"),
    "typeid": (0xFFFFFF, "value for typeid out of range"),
    "typeidversion": (0xFF, "value of typeidversion out of range"),
}
#: Parameters that a type does not have.
EXTRA: Final = {
    "802.1Qbg": ("profileid", "interfaceid"),
    "802.1Qbh": ("managerid", "typeid", "typeidversion", "instanceid", "interfaceid"),
    "openvswitch": ("managerid", "typeid", "typeidversion", "instanceid"),
}
#: Parameters that a type must have.
REQUIRED: Final = {
    "802.1Qbg": ("managerid", "typeid", "typeidversion"),
    "802.1Qbh": ("profileid",),
    "midonet": ("interfaceid",),
}
#: Parameters that libvirt makes up for an interface, by type; None: which switch it is, the network
#: will say.
MADE_UP: Final[dict[str | None, tuple[str, ...]]] = {
    None: ("instanceid", "interfaceid"),
    "802.1Qbg": ("instanceid",),
    "openvswitch": ("interfaceid",),
}
PROFILE_LENGTH: Final = 39  # PORT_PROFILE_MAX of linux/if_link.h, without the final NUL


@element("virtualport", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class VirtualPort:
    """<virtualport>; which parameters count depends on the type."""

    type: str | None = attribute("@type", read=TYPES)
    managerid: str | None = attribute("parameters/@managerid", first=True)
    typeid: str | None = attribute("parameters/@typeid", first=True)
    typeidversion: str | None = attribute("parameters/@typeidversion", first=True)
    instanceid: str | None = attribute("parameters/@instanceid", first=True)
    interfaceid: str | None = attribute("parameters/@interfaceid", first=True)
    profileid: str | None = attribute("parameters/@profileid", empty_is_absent=True, first=True)

    def after_read(self) -> None:
        """Check the parameters and write them the usual way; drop those that MidoNet lacks.

        Raises:
            ConfError: "xml".
        """
        for name, (highest, message) in HIGHEST.items():
            setattr(self, name, _read_number(name, getattr(self, name), highest, message))
        for name in ("instanceid", "interfaceid"):
            setattr(self, name, _read_uuid(name, getattr(self, name)))
        if self.profileid is not None and len(self.profileid) > PROFILE_LENGTH:
            raise ConfError("xml", "profileid parameter too long", "virtualport/parameters")
        for name in EXTRA.get(self.type or "", ()):
            if getattr(self, name) is not None:
                detail = f"extra {name} unsupported in <virtualport type='{self.type}'>"
                raise ConfError("xml", detail, f"virtualport/parameters/@{name}")
        if self.type == "midonet":
            self.managerid = self.typeid = self.typeidversion = self.instanceid = None
            self.profileid = None

    def complete(self, make_uuid: Callable[[], str]) -> None:
        """Make up the identifiers that the document leaves open and the switch needs."""
        for name in MADE_UP.get(self.type, ()):
            if getattr(self, name) is None:
                setattr(self, name, make_uuid())

    def check_complete(self) -> None:
        """Check that all is there which the switch must be told; what can be made up is not.

        Raises:
            ConfError: "xml".
        """
        if self.type is None:
            raise ConfError("xml", "missing required virtualport type", "virtualport/@type")
        for name in REQUIRED.get(self.type, ()):
            if getattr(self, name) is None:
                detail = f"missing {name} in <virtualport type='{self.type}'>"
                raise ConfError("xml", detail, f"virtualport/parameters/@{name}")


def _read_number(name: str, text: str | None, highest: int, message: str) -> str | None:
    if text is None:
        return None
    path = f"virtualport/parameters/@{name}"
    try:
        number = c_integer(text, 0)
    except ValueError:
        detail = f"cannot parse value of {name} parameter"
        raise ConfError("xml", detail, path) from None
    if not 0 <= number <= highest:  # strtoul takes a sign: what is below 0 is too high
        raise ConfError("xml", message, path)
    return str(number)


def _read_uuid(name: str, text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return parse_uuid(text)
    except ValueError:
        detail = f"cannot parse {name} parameter as a uuid"
        raise ConfError("xml", detail, f"virtualport/parameters/@{name}") from None
