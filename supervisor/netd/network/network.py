"""One network as netd knows it: its definition, the network that runs, or both.

Owns: what is known of one network. May not touch: files, links, the bus.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from conf.network import Network, NetworkPort
from rpc.values import Network as NetworkId
from supervisor.dispatch.service_errors import NETWORK_ERRORS
from supervisor.objects.change_lock import ChangeLock


@dataclass(slots=True, eq=False)
class NetworkRuntime:
    """A network that runs."""

    network: Network  # as it is now: changed by live updates alone
    ports: dict[bytes, NetworkPort] = field(default_factory=dict)  # by the port's UUID
    classes: dict[bytes, int] = field(default_factory=dict)  # traffic classes of ports, by UUID

    @property
    def floor_sum(self) -> int:
        """Kilobytes a second that are kept for single cards."""
        limits = [port.bandwidth.inbound for port in self.ports.values() if port.bandwidth]
        return sum(limit.floor or 0 for limit in limits if limit is not None)


@dataclass(slots=True, eq=False)
class NetworkObject:
    """One network."""

    name: str
    uuid: bytes
    definition: Network | None = None  # None: it is gone when it stops
    running: NetworkRuntime | None = None
    autostart: bool = False
    job: ChangeLock = field(init=False)

    def __post_init__(self) -> None:
        """Make the network's lock."""
        self.job = ChangeLock(self.name, NETWORK_ERRORS)

    @property
    def is_there(self) -> bool:
        """Whether clients know of it: one that is just being created is not there yet."""
        return self.definition is not None or self.running is not None

    @property
    def is_defined(self) -> bool:
        """Whether it has a definition."""
        return self.definition is not None

    @property
    def is_active(self) -> bool:
        """Whether it runs."""
        return self.running is not None

    @property
    def current(self) -> Network:
        """What holds now: the running network, else the definition."""
        if self.running is not None:
            return self.running.network
        assert self.definition is not None, "a network that neither runs nor is defined is gone"
        return self.definition

    @property
    def identity(self) -> NetworkId:
        """The network as clients name it."""
        return NetworkId(self.name, self.uuid)

    @property
    def uuid_text(self) -> str:
        """The UUID with hyphens."""
        return str(UUID(bytes=self.uuid))
