"""IP addresses of a domain's interfaces by DHCP leases or the host's ARP table.

Owns: nothing. May touch: netd over the bus. May not touch: the guest.
Source: libvirt 9.0 virDomainInterfaceAddresses.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from conf.domain.devices.interface import Interface
from ipc import BusError, Request
from rpc.enums import DomainInterfaceAddressesSource as Source
from rpc.enums import IPAddrType
from rpc.errors import ErrorCode, VirError
from rpc.values import DomainInterface, DomainIpAddr
from supervisor.messages.netd import (
    ArpAddresses,
    InterfaceAddress,
    InterfaceAddresses,
    LeasedAddresses,
)
from supervisor.workers.running_guest import RunningGuest

MAX_ADDRESSES: Final = 2048


async def query_addresses(guest: RunningGuest, source: int) -> list[DomainInterface]:
    """Query the addresses of a domain's interfaces; those without any are left out.

    Raises:
        VirError: ARGUMENT_UNSUPPORTED: another source; OPERATION_FAILED: netd does not answer.
    """
    interfaces = guest.domain.devices.interfaces
    if source == Source.LEASE:
        on_networks = [interface for interface in interfaces if interface.type == "network"]
        return await _query_netd(guest, on_networks, LeasedAddresses)
    if source == Source.ARP:
        return await _query_netd(guest, interfaces, ArpAddresses)
    detail = f"Unknown IP address data source {source}"
    raise VirError(ErrorCode.ARGUMENT_UNSUPPORTED, detail, guest.context.driver.error_domain)


async def query_leased_hostname(guest: RunningGuest) -> str:
    """Query the host name that the guest's DHCP client gave; "": no lease has one.

    Raises:
        VirError: OPERATION_FAILED: netd does not answer.
    """
    interfaces = guest.domain.devices.interfaces
    on_networks = [interface for interface in interfaces if interface.type == "network"]
    by_mac = await _addresses_by_mac(guest, on_networks, LeasedAddresses)
    names = (
        address.hostname
        for interface in on_networks
        for address in by_mac.get((interface.mac or "").lower(), [])
    )
    return next((name for name in names if name), "")


async def _query_netd(
    guest: RunningGuest,
    interfaces: list[Interface],
    message: type[LeasedAddresses] | type[ArpAddresses],
) -> list[DomainInterface]:
    by_mac = await _addresses_by_mac(guest, interfaces, message)
    return [
        DomainInterface(
            interface.target_dev or "", interface.mac, to_ip_addrs(by_mac[interface.mac.lower()])
        )
        for interface in interfaces
        if interface.mac and interface.mac.lower() in by_mac
    ]


async def _addresses_by_mac(
    guest: RunningGuest,
    interfaces: list[Interface],
    message: type[LeasedAddresses] | type[ArpAddresses],
) -> dict[str, list[InterfaceAddress]]:
    macs = [interface.mac for interface in interfaces if interface.mac]
    if not macs:
        return {}
    request: Request[InterfaceAddresses] = message(macs=macs)
    try:
        reply = await guest.context.node.link("netd").call(request)
    except BusError as error:
        detail = f"the network service does not answer: {error}"
        domain = guest.context.driver.error_domain
        raise VirError(ErrorCode.OPERATION_FAILED, detail, domain) from error
    by_mac: dict[str, list[InterfaceAddress]] = {}
    for address in reply.addresses:
        by_mac.setdefault(address.mac.lower(), []).append(address)
    return by_mac


def to_ip_addrs(addresses: Iterable[InterfaceAddress]) -> list[DomainIpAddr]:
    """Convert netd's addresses to virDomainIPAddress, at most REMOTE_DOMAIN_IP_ADDR_MAX."""
    return [
        DomainIpAddr(
            IPAddrType.IPV4 if address.family == 4 else IPAddrType.IPV6,
            address.address,
            address.prefix,
        )
        for address in addresses
    ][:MAX_ADDRESSES]
