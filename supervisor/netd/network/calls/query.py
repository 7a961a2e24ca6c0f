"""virNetwork calls that list, look up and describe networks.

Owns: one method per procedure, named as in the table. May not touch: anything.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from conf.network import Network, format_network
from conf.network.attributes import Subnet
from rpc.enums import ConnectListAllNetworksFlags as Flags
from rpc.enums import IPAddrType, NetworkXMLFlags
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Network as NetworkId
from rpc.values import NetworkDhcpLease
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.service_errors import NETWORK_ERRORS
from supervisor.netd.dnsmasq.leases import DhcpLease, read_leases
from supervisor.netd.network.network import NetworkObject
from supervisor.netd.network.registry import NetworkRegistry
from supervisor.objects.listing import (
    ListFilter,
    either,
    has_autostart,
    is_active,
    is_persistent,
)

FILTER: Final[ListFilter[NetworkObject]] = ListFilter(
    either(Flags.ACTIVE, Flags.INACTIVE, is_active),
    either(Flags.PERSISTENT, Flags.TRANSIENT, is_persistent),
    either(Flags.AUTOSTART, Flags.NO_AUTOSTART, has_autostart),
)
KINDS: Final = {4: IPAddrType.IPV4, 6: IPAddrType.IPV6}  # of an address's family


class QueryCalls:
    """The calls."""

    def __init__(self, registry: NetworkRegistry, leases: Callable[[Network], Path]) -> None:
        """Answer from these.

        Args:
            registry: the networks.
            leases: where a network's lease database is.
        """
        self._registry = registry
        self._leases = leases

    # Lists and lookups.

    def connect_num_of_networks(self, call: ClientCall) -> int:
        """Count the active networks."""
        call.cacheable = True
        return sum(obj.is_active for obj in self._registry)

    def connect_list_networks(self, call: ClientCall, maxnames: int) -> list[str]:
        """List the names of active networks."""
        call.cacheable = True
        return [obj.name for obj in self._registry if obj.is_active][: max(0, maxnames)]

    def connect_num_of_defined_networks(self, call: ClientCall) -> int:
        """Count the inactive networks."""
        call.cacheable = True
        return sum(not obj.is_active for obj in self._registry)

    def connect_list_defined_networks(self, call: ClientCall, maxnames: int) -> list[str]:
        """List the names of inactive networks."""
        call.cacheable = True
        return [obj.name for obj in self._registry if not obj.is_active][: max(0, maxnames)]

    def connect_list_all_networks(
        self, call: ClientCall, need_results: int, flags: int
    ) -> tuple[list[NetworkId], int]:
        """List the networks that match the flags."""
        call.cacheable = True
        NETWORK_ERRORS.check_flags("networkConnectListAllNetworks", flags, FILTER.flags)
        networks = [obj.identity for obj in FILTER.select(self._registry, flags)]
        return networks if need_results else [], len(networks)

    def network_lookup_by_name(self, call: ClientCall, name: str) -> NetworkId:
        """Look up a network by name."""
        call.cacheable = True
        return self._registry.get_by_name(name).identity

    def network_lookup_by_uuid(self, call: ClientCall, uuid: bytes) -> NetworkId:
        """Look up a network by UUID."""
        call.cacheable = True
        return self._registry.find(NetworkId("", uuid)).identity

    # Describing.

    def network_is_active(self, call: ClientCall, net: NetworkId) -> int:
        """Return whether the network is active."""
        call.cacheable = True
        return int(self._registry.find(net).is_active)

    def network_is_persistent(self, call: ClientCall, net: NetworkId) -> int:
        """Return whether the network is defined."""
        call.cacheable = True
        return int(self._registry.find(net).definition is not None)

    def network_get_autostart(self, call: ClientCall, net: NetworkId) -> int:
        """Return whether the network starts with the host."""
        call.cacheable = True
        return int(self._registry.find(net).autostart)

    def network_get_xml_desc(self, call: ClientCall, net: NetworkId, flags: int) -> str:
        """Return the network's live XML or definition.

        Raises:
            VirError: INVALID_ARG for unknown flags.
        """
        call.cacheable = True
        NETWORK_ERRORS.check_flags("networkGetXMLDesc", flags, NetworkXMLFlags.INACTIVE)
        obj = self._registry.find(net)
        if obj.runtime is None or (flags & NetworkXMLFlags.INACTIVE and obj.definition):
            assert obj.definition is not None, "a network that neither runs nor is defined"
            return format_network(obj.definition, inactive=True)
        if flags & NetworkXMLFlags.INACTIVE:
            return format_network(obj.runtime.network, inactive=True)
        return describe_live(obj)

    def network_get_bridge_name(self, call: ClientCall, net: NetworkId) -> str:
        """Return the name of the network's bridge.

        Raises:
            VirError: INTERNAL_ERROR for a network that has none.
        """
        call.cacheable = True
        obj = self._registry.find(net)
        bridge = obj.current.bridge
        if bridge is None or not bridge.name:
            detail = f"network '{obj.name}' does not have a bridge name."
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NETWORK)
        return bridge.name

    async def network_get_dhcp_leases(
        self, call: ClientCall, net: NetworkId, mac: str | None, need_results: int, flags: int
    ) -> tuple[list[NetworkDhcpLease], int]:
        """List the DHCP leases; a database of thousands holds up no other call."""
        NETWORK_ERRORS.check_flags("networkGetDHCPLeases", flags)
        obj = self._registry.find(net)
        bridge = obj.current.bridge
        if obj.runtime is None or bridge is None or not bridge.name:
            return [], 0
        path, network = self._leases(obj.current), obj.current
        values = await asyncio.to_thread(lease_values, path, bridge.name, network, mac)
        return values if need_results else [], len(values)


def describe_live(obj: NetworkObject) -> str:
    """Format an active network with the number of its ports as `connections`."""
    assert obj.runtime is not None, "only a running network is described"
    network = obj.runtime.network
    return format_network(network, inactive=False, connections=len(obj.runtime.ports))


def lease_values(
    path: Path, bridge: str, network: Network, mac: str | None
) -> list[NetworkDhcpLease]:
    """Read a network's leases, of one MAC address or (None) all, as protocol values; it blocks."""
    prefixes = Prefixes(network)
    leases = read_leases(path, time.time(), mac)
    return [lease_value(bridge, lease, prefixes) for lease in leases]


def lease_value(bridge: str, lease: DhcpLease, prefixes: Prefixes) -> NetworkDhcpLease:
    """Convert a lease to its protocol value."""
    return NetworkDhcpLease(
        iface=bridge,
        expirytime=lease.expires,
        type=KINDS[lease.family],
        mac=lease.mac or None,
        iaid=lease.iaid or None,
        ipaddr=lease.address,
        prefix=prefixes.of(lease),
        hostname=lease.hostname or None,
        clientid=lease.client_id or None,
    )


class Prefixes:
    """The prefix lengths of a network's subnets."""

    def __init__(self, network: Network) -> None:
        self._subnets = [
            (subnet[0].packed, subnet[-1].packed, subnet.prefixlen)
            for subnet in subnets_of(network)
        ]

    def of(self, lease: DhcpLease) -> int:
        """Return the prefix length of the subnet that an address belongs to."""
        packed = lease.packed
        for first, last, prefix in self._subnets:
            if first <= packed <= last and len(first) == len(packed):
                return prefix
        return 128 if lease.family == 6 else 24


def subnets_of(network: Network) -> Iterable[Subnet]:
    """Return the subnets of a network."""
    return (subnet for ip in network.ips if (subnet := ip.network) is not None)
