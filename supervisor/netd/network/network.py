"""One network as netd knows it: its definition, the network that runs, or both.

Owns: what is known of one network. May not touch: files, links, the bus.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from conf.network import Network, NetworkPort
from rpc.values import Network as NetworkId
from supervisor.objects.object import LibvirtObject


@dataclass(slots=True, eq=False)
class NetworkRuntime:
    """A network that runs."""

    network: Network  # as it is now: changed by live updates alone
    ports: dict[bytes, NetworkPort] = field(default_factory=dict)  # by the port's UUID

    @property
    def classes(self) -> set[int]:
        """The classes of the bridge's traffic that ports with a floor have."""
        limits = [port.bandwidth for port in self.ports.values() if port.bandwidth]
        return {limit.class_id for limit in limits if limit.class_id}

    @property
    def floor_sum(self) -> int:
        """The sum of the interfaces' guaranteed rates (floor), in KB/s."""
        limits = [port.bandwidth.inbound for port in self.ports.values() if port.bandwidth]
        return sum(limit.floor or 0 for limit in limits if limit is not None)


@dataclass(slots=True, eq=False)
class NetworkObject(LibvirtObject[Network, NetworkRuntime]):
    """One network."""

    @property
    def live_definition(self) -> Network | None:
        """The active network's definition: changed by live updates alone."""
        return self.runtime.network if self.runtime is not None else None

    @property
    def identity(self) -> NetworkId:
        """The network as clients name it."""
        return NetworkId(self.name, self.uuid)


def bridge_of(network: Network) -> str:
    """Return the name of a network's bridge; "": none."""
    return network.bridge.name or "" if network.bridge is not None else ""
