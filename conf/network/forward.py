"""<forward>: how a network is connected to the outside.

Source: libvirt 9.0 formatnetwork, "Connectivity".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from conf.domain.devices.address import PciAddress
from conf.errors import ConfError
from conf.mapper import attribute, children, element
from conf.network.attributes import parsed_address
from conf.types.bool import yes_no
from conf.types.enum import one_of
from conf.types.integer import unsigned
from conf.types.ip_address import Address

FIRST_PORT = 1024
LAST_PORT = 65535


class ForwardMode(StrEnum):
    """The forward mode."""

    NONE = "none"  # they reach each other and the host: XML without <forward>
    NAT = "nat"
    ROUTE = "route"
    OPEN = "open"
    BRIDGE = "bridge"
    PRIVATE = "private"
    VEPA = "vepa"
    PASSTHROUGH = "passthrough"
    HOSTDEV = "hostdev"


@element("address")
@dataclass(slots=True, kw_only=True)
class NatAddresses:
    """<address> of <nat>."""

    start: Address | None = attribute("@start", read=parsed_address, required=True)
    end: Address | None = attribute("@end", read=parsed_address, required=True)


@element("port")
@dataclass(slots=True, kw_only=True)
class NatPorts:
    """<port> of <nat>."""

    start: int = attribute("@start", read=unsigned, required=True, default=0, bad="xml_detail")
    end: int = attribute("@end", read=unsigned, required=True, default=0, bad="xml_detail")


@element("nat")
@dataclass(slots=True, kw_only=True)
class Nat:
    """<nat>: source addresses and ports of translated connections."""

    ipv6: bool | None = attribute("@ipv6", read=yes_no)
    addresses: list[NatAddresses] = children("address", NatAddresses)
    ports: list[NatPorts] = children("port", NatPorts)

    @property
    def first(self) -> Address | None:
        """Return the first address; None: the outgoing device's."""
        return self.addresses[0].start if self.addresses else None

    @property
    def last(self) -> Address | None:
        """Return the last address; None: there is only one."""
        return self.addresses[0].end if self.addresses else None

    @property
    def first_port(self) -> int:
        """The first port."""
        return self.ports[0].start if self.ports else FIRST_PORT

    @property
    def last_port(self) -> int:
        """The last port."""
        return self.ports[0].end if self.ports else LAST_PORT


@element("interface")
@dataclass(slots=True, kw_only=True)
class ForwardInterface:
    """<interface>: a device of the host."""

    dev: str = attribute("@dev", default="")
    connections: int | None = attribute("@connections", read=unsigned, only="live", omit=0)


@element("pf")
@dataclass(slots=True, kw_only=True)
class PhysicalFunction:
    """<pf>: the SR-IOV physical function whose virtual functions guests get."""

    dev: str = attribute("@dev", default="")
    connections: int | None = attribute("@connections", read=unsigned, only="live", omit=0)


def _is_yes(text: str) -> bool:
    """Read a switch that libvirt compares with "yes" alone."""
    return text == "yes"


def _forward_mode(text: str) -> str:
    """Read the forward mode.

    Raises:
        ConfError: "config_unsupported": there is no such mode.
    """
    if text not in ForwardMode.__members__.values():
        detail = f"unknown forwarding type '{text}'; use one of {', '.join(ForwardMode)}"
        raise ConfError("config_unsupported", detail, "network/forward/@mode")
    return text


@element("forward")
@dataclass(slots=True, kw_only=True)
class Forward:
    """<forward>."""

    dev: str | None = attribute("@dev")
    mode_text: str | None = attribute(
        "@mode",
        read=_forward_mode,
        empty_is_absent=True,
    )
    managed: bool | None = attribute("@managed", read=_is_yes)
    driver: str | None = attribute(
        "driver/@name",
        read=one_of("kvm", "vfio", "xen"),
        bad="config_unsupported",
        empty_is_absent=True,
    )
    nats: list[Nat] = children("nat", Nat)
    functions: list[PhysicalFunction] = children("pf", PhysicalFunction)
    interfaces: list[ForwardInterface] = children("interface", ForwardInterface)
    addresses: list[PciAddress] = children("address", PciAddress)
    mode: ForwardMode = field(default=ForwardMode.NAT, compare=False)

    def after_read(self) -> None:
        """Fill in the mode; take `dev` from the first <interface>."""
        self.mode_text = self.mode_text or ForwardMode.NAT.value
        self.mode = ForwardMode(self.mode_text)
        if self.dev and not self.interfaces:
            self.interfaces = [ForwardInterface(dev=self.dev)]
        first = self.interfaces[0].dev if self.interfaces else None
        self.dev = self.dev or first
        if self.interfaces:
            self.functions = []
        self.managed = bool(self.managed) if self.mode is ForwardMode.HOSTDEV else None
        if self.nats == [Nat()] and self.mode is ForwardMode.NAT:
            self.nats = []

    @property
    def nat(self) -> Nat | None:
        """Return <nat>; None: defaults."""
        return self.nats[0] if self.nats else None
