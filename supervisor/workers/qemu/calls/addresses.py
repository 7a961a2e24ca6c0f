"""Clients' calls for the network addresses of one guest.

Owns: nothing. May touch: netd, for leases and what the host's kernel has seen; the agent.
Source: libvirt 9.0 virDomainInterfaceAddresses.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from conf.domain.devices.interface import Interface
from ipc import BusError, Request
from rpc.enums import DomainInterfaceAddressesSource as Source
from rpc.enums import IPAddrType
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Domain as DomainId
from rpc.values import DomainInterface, DomainIpAddr
from supervisor.calls import ClientCall
from supervisor.messages.netd import (
    ArpAddresses,
    GuestAddress,
    GuestAddresses,
    LeasedAddresses,
)
from supervisor.workers.qemu import agent
from supervisor.workers.qemu.calls.consoles import HasGuest
from supervisor.workers.qemu.calls.flags import invalid, refuse_flags
from supervisor.workers.qemu.guest import Guest

NETD_S: Final = 5.0
MAX_INTERFACES: Final = 2048
MAX_ADDRESSES: Final = 2048
FAMILIES: Final = {"ipv4": IPAddrType.IPV4, "ipv6": IPAddrType.IPV6}


class AgentAddress(msgspec.Struct, frozen=True, rename="kebab"):
    """An address in `guest-network-get-interfaces`."""

    ip_address: str = ""
    ip_address_type: str = ""
    prefix: int = 0


class AgentInterface(msgspec.Struct, frozen=True, rename="kebab"):
    """A device in `guest-network-get-interfaces`."""

    name: str = ""
    hardware_address: str | None = None
    ip_addresses: list[AgentAddress] = []


class Addresses:
    """Where a guest can be reached."""

    def __init__(self, worker: HasGuest) -> None:
        """Ask about the worker's guest."""
        self._worker = worker

    async def domain_interface_addresses(
        self, call: ClientCall, dom: DomainId, source: int, flags: int
    ) -> list[DomainInterface]:
        """The addresses of a guest's cards, as DHCP, the agent or the host's kernel knows them.

        Raises:
            VirError: ARGUMENT_UNSUPPORTED for another source; those of the agent.
        """
        refuse_flags("qemuDomainInterfaceAddresses", flags)
        guest = self._worker.guest()
        cards = guest.domain.devices.interfaces
        match source:
            case Source.LEASE:
                networked = [card for card in cards if card.type == "network"]
                return await self._known(guest, networked, LeasedAddresses)
            case Source.ARP:
                return await self._known(guest, cards, ArpAddresses)
            case Source.AGENT:
                return await self._told(guest)
        detail = f"Unknown IP address data source {source}"
        raise VirError(ErrorCode.ARGUMENT_UNSUPPORTED, detail, ErrorDomain.QEMU)

    async def _known(
        self,
        guest: Guest,
        cards: list[Interface],
        kind: type[LeasedAddresses] | type[ArpAddresses],
    ) -> list[DomainInterface]:
        """What netd knows; cards of which it knows nothing are left out."""
        macs = [card.mac for card in cards if card.mac]
        if not macs:
            return []
        request: Request[GuestAddresses] = kind(macs=macs)
        try:
            found = await guest.workplace.node.link("netd").call(request, timeout_s=NETD_S)
        except BusError as problem:
            detail = f"the network service does not answer: {problem}"
            raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.QEMU) from problem
        by_mac: dict[str, list[GuestAddress]] = {}
        for one in found.addresses:
            by_mac.setdefault(one.mac.lower(), []).append(one)
        return [
            DomainInterface(card.target_dev or "", card.mac, listed(by_mac[card.mac.lower()]))
            for card in cards
            if card.mac and card.mac.lower() in by_mac
        ]

    async def _told(self, guest: Guest) -> list[DomainInterface]:
        """What the agent in the guest says, which may be anything."""
        command = "guest-network-get-interfaces"
        told = await agent.ask(guest, command, list[AgentInterface])
        if len(told) > MAX_INTERFACES:
            raise invalid(f"the agent of '{guest.name}' tells of {len(told)} interfaces")
        return [
            DomainInterface(
                one.name,
                one.hardware_address,
                [
                    DomainIpAddr(FAMILIES[address.ip_address_type], address.ip_address, prefix)
                    for address in one.ip_addresses[:MAX_ADDRESSES]
                    if address.ip_address_type in FAMILIES
                    and 0 <= (prefix := address.prefix) <= 128
                ],
            )
            for one in told
        ]


def listed(addresses: Iterable[GuestAddress]) -> list[DomainIpAddr]:
    """Addresses as clients hear them."""
    return [
        DomainIpAddr(
            IPAddrType.IPV4 if one.family == 4 else IPAddrType.IPV6, one.address, one.prefix
        )
        for one in addresses
    ][:MAX_ADDRESSES]
