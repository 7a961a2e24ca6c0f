"""IP addresses of the domain's interfaces: by lease, ARP table or guest agent.

Owns: nothing. May touch: netd, by `workers.interface_addresses`; the agent.
Source: libvirt 9.0 virDomainInterfaceAddresses.
"""

from __future__ import annotations

from typing import Final

from rpc.enums import DomainInterfaceAddressesSource as Source
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Domain as DomainId
from rpc.values import DomainInterface
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.workers.interface_addresses import MAX_ADDRESSES, query_addresses
from supervisor.workers.qemu.agent import interfaces
from supervisor.workers.qemu.guest import GuestProvider

MAX_INTERFACES: Final = 2048  # REMOTE_DOMAIN_INTERFACE_MAX


class InterfaceAddressCalls:
    """Calls on the domain's IP addresses."""

    def __init__(self, worker: GuestProvider) -> None:
        self._worker = worker

    async def domain_interface_addresses(
        self, call: ClientCall, dom: DomainId, source: int, flags: int
    ) -> list[DomainInterface]:
        """Query the IP addresses of the domain's interfaces.

        Raises:
            VirError: ARGUMENT_UNSUPPORTED: another source; INTERNAL_ERROR: the agent reports more
                than the protocol takes; those of the agent.
        """
        guest = self._worker.guest()
        if source != Source.AGENT:
            return await query_addresses(guest, source)
        found = await interfaces.query(guest)
        _check_limit("interfaces", len(found), MAX_INTERFACES)
        for interface in found:
            _check_limit("addresses", len(interface.addrs), MAX_ADDRESSES)
        return found


def _check_limit(what: str, count: int, limit: int) -> None:
    if count > limit:
        detail = f"Number of {what}, {count} exceeds the max limit: {limit}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.RPC)
