"""IP addresses of guests' interfaces, from DHCP leases or the kernel's neighbour tables.

Owns: those two answers. May touch: lease databases and the kernel's neighbours, to read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from conf.network import Network
from ipc import handles
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.service_errors import NETWORK_ERRORS
from supervisor.messages.netd import (
    ArpAddresses,
    InterfaceAddress,
    InterfaceAddresses,
    LeasedAddresses,
)
from supervisor.netd.dnsmasq.leases import DhcpLease, read_leases
from supervisor.netd.kernel.netlink import Rtnetlink
from supervisor.netd.network.calls.query import Prefixes
from supervisor.netd.network.registry import NetworkRegistry


class AddressService:
    """Answers other services' queries for guests' addresses."""

    def __init__(
        self, registry: NetworkRegistry, leases: Callable[[Network], Path], links: Rtnetlink
    ) -> None:
        """Answer from these.

        Args:
            registry: the networks.
            leases: where a network's lease database is.
            links: the host's.
        """
        self._registry = registry
        self._leases = leases
        self._links = links

    @handles(LeasedAddresses)
    async def leased(self, request: LeasedAddresses) -> InterfaceAddresses:
        """Return the leased addresses of MAC addresses, in all active networks."""
        macs = {mac.lower() for mac in request.macs}
        running = [obj.runtime.network for obj in self._registry if obj.runtime is not None]
        leases = await asyncio.to_thread(self._leases_of, running)
        addresses = [
            InterfaceAddress(
                mac=lease.mac,
                address=lease.address,
                family=lease.family,
                prefix=Prefixes(network).of(lease),
                hostname=lease.hostname,
            )
            for network, lease in leases
            if lease.mac in macs
        ]
        return InterfaceAddresses(addresses=addresses)

    @handles(ArpAddresses)
    async def arp_addresses(self, request: ArpAddresses) -> InterfaceAddresses:
        """Return the neighbour table's addresses of MAC addresses."""
        macs = {mac.lower() for mac in request.macs}
        try:
            neighbours = await self._links.neighbours()
        except OSError as error:
            raise NETWORK_ERRORS.system_error(
                "cannot read the kernel's neighbours", error
            ) from error
        except TimeoutError as error:
            detail = "the kernel did not list its neighbours in time"
            raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.NETWORK) from error
        addresses = [
            InterfaceAddress(
                mac=neighbour.mac, address=neighbour.address, family=neighbour.family, prefix=0
            )
            for neighbour in neighbours
            if neighbour.mac in macs
        ]
        return InterfaceAddresses(addresses=addresses)

    def _leases_of(self, networks: list[Network]) -> list[tuple[Network, DhcpLease]]:
        now = time.time()
        return [
            (network, lease)
            for network in networks
            for lease in read_leases(self._leases(network), now)
        ]
