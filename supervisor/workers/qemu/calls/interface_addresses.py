"""IP addresses of the domain's interfaces: by lease, ARP table or guest agent.

Owns: nothing. May touch: netd, by `workers.interface_addresses`; the agent.
Source: libvirt 9.0 virDomainInterfaceAddresses.
"""

from __future__ import annotations

from typing import Final

import msgspec

from rpc.enums import DomainInterfaceAddressesSource as Source
from rpc.enums import IPAddrType
from rpc.values import Domain as DomainId
from rpc.values import DomainInterface, DomainIpAddr
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.drivers.qemu import QEMU
from supervisor.workers.interface_addresses import MAX_ADDRESSES, query_addresses
from supervisor.workers.qemu.agent import guest_agent
from supervisor.workers.qemu.guest import Guest, GuestProvider

MAX_INTERFACES: Final = 2048
FAMILIES: Final = {"ipv4": IPAddrType.IPV4, "ipv6": IPAddrType.IPV6}


class AgentAddress(msgspec.Struct, frozen=True, rename="kebab"):
    """An address in `guest-network-get-interfaces`."""

    ip_address: str = ""
    ip_address_type: str = ""
    prefix: int = 0


class AgentInterface(msgspec.Struct, frozen=True, rename="kebab"):
    """An interface in `guest-network-get-interfaces`."""

    name: str = ""
    hardware_address: str | None = None
    ip_addresses: list[AgentAddress] = []


class InterfaceAddressCalls:
    """Calls on the domain's IP addresses."""

    def __init__(self, worker: GuestProvider) -> None:
        self._worker = worker

    async def domain_interface_addresses(
        self, call: ClientCall, dom: DomainId, source: int, flags: int
    ) -> list[DomainInterface]:
        """Query the IP addresses of the domain's interfaces.

        Raises:
            VirError: ARGUMENT_UNSUPPORTED: another source; those of the agent.
        """
        guest = self._worker.guest()
        if source == Source.AGENT:
            return await self._query_agent(guest)
        return await query_addresses(guest, source)

    async def _query_agent(self, guest: Guest) -> list[DomainInterface]:
        """Query the guest agent; its reply is the guest's and may be anything."""
        command = "guest-network-get-interfaces"
        interfaces = await guest_agent.query(guest, command, list[AgentInterface])
        if len(interfaces) > MAX_INTERFACES:
            raise QEMU.errors.invalid_arg(
                f"the agent of '{guest.name}' reports {len(interfaces)} interfaces"
            )
        return [
            DomainInterface(
                interface.name,
                interface.hardware_address,
                [
                    DomainIpAddr(FAMILIES[address.ip_address_type], address.ip_address, prefix)
                    for address in interface.ip_addresses[:MAX_ADDRESSES]
                    if address.ip_address_type in FAMILIES
                    and 0 <= (prefix := address.prefix) <= 128
                ],
            )
            for interface in interfaces
        ]
