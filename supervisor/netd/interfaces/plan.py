"""Plan of bringing a host interface up. Pure.

Owns: which steps, in which order. May not touch: the host.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from conf.interface import BOND_MODES, Bond, HostInterface, InterfaceType, Protocol, VlanLink
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.netd.network.steps import AddAddress, SetMtu, SetUp

ARP_VALIDATE: Final = {None: 0, "active": 1, "backup": 2, "all": 3}
CENTI: Final = 100


@dataclass(frozen=True, slots=True)
class CreateLink:
    """Create a bridge, bond or VLAN; undoing it deletes the link."""

    name: str
    kind: str
    options: tuple[tuple[str, object], ...] = ()
    parent: str = ""  # the device below a VLAN


@dataclass(frozen=True, slots=True)
class AddToMaster:
    """Make a link a port of a bridge or bond."""

    name: str
    master: str
    down_first: bool  # the kernel adds only links that are down to a bond


@dataclass(frozen=True, slots=True)
class AcceptRa:
    """Accept IPv6 router advertisements (accept_ra and autoconf), or ignore them."""

    name: str
    on: bool


@dataclass(frozen=True, slots=True)
class AddGateway:
    """Add a default route."""

    name: str
    family: int
    address: str


InterfaceStep = CreateLink | AddToMaster | SetMtu | SetUp | AcceptRa | AddAddress | AddGateway


def plan_interface(interface: HostInterface) -> list[InterfaceStep]:
    """List the steps that bring an interface up, in order; undoing all of them brings it down.

    Raises:
        VirError: CONFIG_UNSUPPORTED: DHCP needs a client, which netd does not run.
    """
    return list(_steps(interface))


def _steps(interface: HostInterface) -> Iterator[InterfaceStep]:
    name = interface.known_name
    if interface.type is InterfaceType.BRIDGE and interface.bridge is not None:
        yield from _bridge(interface, name)
    elif interface.type is InterfaceType.BOND and interface.bond is not None:
        yield from _bond(name, interface.bond)
    elif interface.type is InterfaceType.VLAN and interface.vlan is not None:
        yield _vlan(name, interface.vlan)
    if interface.mtu:
        yield SetMtu(name, interface.mtu)
    yield SetUp(name)
    for protocol in interface.protocols:
        yield from _addresses(name, protocol)


def _bridge(interface: HostInterface, name: str) -> Iterator[InterfaceStep]:
    bridge = interface.bridge
    assert bridge is not None, "an interface of type bridge has one"
    options = (
        ("br_forward_delay", round(bridge.delay_s * CENTI)),
        ("br_stp_state", int(bool(bridge.stp))),
    )
    yield CreateLink(name, "bridge", options)
    for member in bridge.members:
        part = member.name or ""
        if member.bond is not None:
            yield from _bond(part, member.bond)
        elif member.vlan is not None:
            yield _vlan(part, member.vlan)
        yield AddToMaster(part, name, down_first=False)
        yield SetUp(part)


def _bond(name: str, bond: Bond) -> Iterator[InterfaceStep]:
    options: dict[str, object] = {"bond_mode": BOND_MODES.index(bond.mode or BOND_MODES[0])}
    if bond.miimon is not None:
        options["bond_miimon"] = bond.miimon.freq
        options["bond_updelay"] = bond.miimon.updelay or 0
        options["bond_downdelay"] = bond.miimon.downdelay or 0
        options["bond_use_carrier"] = int(bond.miimon.carrier != "ioctl")
    if bond.arpmon is not None:
        options["bond_arp_interval"] = bond.arpmon.interval
        options["bond_arp_ip_target"] = str(bond.arpmon.target)
        options["bond_arp_validate"] = ARP_VALIDATE[bond.arpmon.validate]
    yield CreateLink(name, "bond", tuple(options.items()))
    for member in bond.members:
        yield AddToMaster(member.name or "", name, down_first=True)


def _vlan(name: str, vlan: VlanLink) -> CreateLink:
    return CreateLink(name, "vlan", (("vlan_id", vlan.tag),), parent=vlan.parent or "")


def _addresses(name: str, protocol: Protocol) -> Iterator[InterfaceStep]:
    family = 6 if protocol.family == "ipv6" else 4
    if protocol.dhcp is not None:
        detail = (
            f"<dhcp/> of interface '{name}' needs a DHCP client, which does not run here: use "
            "<ip>, or leave the interface to the host's own network configuration"
        )
        raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.INTERFACE)
    if family == 6:
        yield AcceptRa(name, protocol.autoconf)
    for ip in protocol.addresses:
        yield AddAddress(name, str(ip.address), ip.length, "")
    if protocol.gateway is not None:
        yield AddGateway(name, family, str(protocol.gateway))
