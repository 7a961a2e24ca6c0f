"""The guest's network interfaces and their addresses, as its agent reports them.

Owns: the agent's reply in the protocol's values. May touch: the agent.
Source: libvirt 9.0, qemuAgentGetInterfaces; QEMU 7.2, guest-network-get-interfaces.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rpc.enums import IPAddrType
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import DomainInterface, DomainIpAddr
from supervisor.workers.qemu.agent import guest_agent
from supervisor.workers.qemu.agent.replies import IpAddress, NetworkInterface
from supervisor.workers.qemu.guest import Guest

FAMILIES: Final = {"ipv4": IPAddrType.IPV4, "ipv6": IPAddrType.IPV6}
LONGEST_PREFIX: Final = 128  # bits


async def query(guest: Guest) -> list[DomainInterface]:
    """Query the interfaces.

    Raises:
        VirError: as `guest_agent.query`; INTERNAL_ERROR: an address is none.
    """
    command = "guest-network-get-interfaces"
    return merge_aliases(await guest_agent.query(guest, command, list[NetworkInterface]))


def merge_aliases(reported: Iterable[NetworkInterface]) -> list[DomainInterface]:
    """Convert the interfaces; the addresses of an alias (eth0:1) are its interface's.

    Raises:
        VirError: INTERNAL_ERROR: an address is none.
    """
    interfaces: dict[str, DomainInterface] = {}
    for each in reported:
        name = each.name.partition(":")[0]
        interface = interfaces.setdefault(name, DomainInterface(name, each.hardware_address, []))
        interface.addrs.extend(_address(name, address) for address in each.ip_addresses)
    return list(interfaces.values())


def _address(interface: str, address: IpAddress) -> DomainIpAddr:
    family = FAMILIES.get(address.ip_address_type)
    if family is None:
        detail = f"unknown ip address type '{address.ip_address_type}' of '{interface}'"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU)
    if not 0 <= address.prefix <= LONGEST_PREFIX:
        detail = f"malformed 'prefix' field of an address of '{interface}': {address.prefix}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU)
    return DomainIpAddr(family, address.ip_address, address.prefix)
