"""A host in memory: links, rules and dnsmasq processes outlive the netd that created them."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ipc import Event
from rpc.errors import ErrorCode, VirError
from supervisor.dispatch.events import KeepRunningVote, Publisher
from supervisor.messages.calls import ClientEvent
from supervisor.messages.root import KeepRunning
from supervisor.netd.dnsmasq.process import Dnsmasq, DnsmasqPaths
from supervisor.netd.firewall import Firewall, NetworkFacts
from supervisor.netd.hooks import NetworkHooks
from supervisor.netd.kernel.netlink import HostAddress, HostRoute, Link, Rtnetlink
from supervisor.netd.kernel.sysctl import Sysctl
from supervisor.netd.network.files import NetworkFiles
from supervisor.netd.network.network_services import NetworkServices
from supervisor.netd.network.networks import Networks
from supervisor.netd.network.registry import network_registry
from supervisor.netd.network.step_executor import StepExecutor
from supervisor.netd.network.steps import Step
from supervisor.runtime.hooks import Hooks
from supervisor.runtime.paths import Paths

SETTINGS = (
    "ipv4/ip_forward",
    "ipv6/conf/all/forwarding",
    "ipv6/conf/b0/disable_ipv6",
    "ipv6/conf/b0/accept_ra",
    "ipv6/conf/b0/autoconf",
)


class FakeLinks(Rtnetlink):
    """The kernel's links, addresses and routes."""

    def __init__(self) -> None:
        super().__init__()
        self.by_name: dict[str, Link] = {}
        self.address_list: list[tuple[str, str]] = []
        self.route_list: list[tuple[str, str]] = []
        self.host_routes: list[HostRoute] = []
        self.limited: set[str] = set()

    def close(self) -> None:
        pass

    async def links(self) -> list[Link]:
        return list(self.by_name.values())

    async def find(self, name: str) -> Link | None:
        return self.by_name.get(name)

    async def index(self, name: str) -> int:
        return self._link(name).index

    async def addresses(self) -> list[HostAddress]:
        return []

    async def routes(self) -> list[HostRoute]:
        return self.host_routes

    async def add(self, name: str, kind: str, **options: object) -> None:
        if name in self.by_name:
            raise OSError(errno.EEXIST, "File exists")
        mac = str(options.get("address", ""))
        index = len(self.by_name) + 1
        self.by_name[name] = Link(name, index, mac, 1500, up=False, kind=kind, master=0, parent=0)

    async def set_link(self, name: str, **options: object) -> None:
        link = self._link(name)
        self.by_name[name] = replace(link, up=options.get("state", "") == "up" or link.up)

    async def attach_port(self, name: str, bridge: str, **options: object) -> None:
        self.by_name[name] = replace(self._link(name), up=True, master=self._link(bridge).index)

    async def set_port(self, name: str, **options: object) -> None:
        self._link(name)

    async def delete(self, name: str) -> None:
        self.by_name.pop(name, None)
        self.address_list = [each for each in self.address_list if each[0] != name]
        self.route_list = [each for each in self.route_list if each[0] != name]
        self.limited.discard(name)

    async def add_address(self, name: str, address: str, prefix: int, broadcast: str = "") -> None:
        self._add(self.address_list, name, f"{address}/{prefix}")

    async def add_route(self, name: str, destination: str, gateway: str, metric: int) -> None:
        self._add(self.route_list, name, destination)

    async def traffic(self, work: Callable[[Any, int], None], name: str) -> None:
        self._link(name)
        self.limited.add(name)

    def _link(self, name: str) -> Link:
        if name not in self.by_name:
            raise OSError(errno.ENODEV, "No such device")
        return self.by_name[name]

    def _add(self, entries: list[tuple[str, str]], name: str, entry: str) -> None:
        self._link(name)
        if (name, entry) in entries:
            raise OSError(errno.EEXIST, "File exists")
        entries.append((name, entry))


class FakeRules:
    """The packet filter; the executor of `Firewall`."""

    def __init__(self) -> None:
        self.installed: dict[str, NetworkFacts] = {}
        self.refuses = False

    async def install(self, facts: NetworkFacts) -> None:
        await self.refresh(facts)

    async def refresh(self, facts: NetworkFacts) -> None:
        if self.refuses:
            raise VirError(ErrorCode.INTERNAL_ERROR, "the firewall refuses")
        self.installed[facts.name] = facts

    async def incomplete(self, networks: Sequence[NetworkFacts]) -> list[NetworkFacts]:
        return [facts for facts in networks if self.installed.get(facts.name) != facts]

    async def remove(self, facts: NetworkFacts) -> None:
        self.installed.pop(facts.name, None)


class FakeHooks(NetworkHooks):
    """The network hook script; it may refuse an operation."""

    def __init__(self) -> None:
        super().__init__(Hooks(Path("/nonexistent")))
        self.operations: list[str] = []
        self.refused = ""

    async def run(self, network: Any, operation: str, port: Any = None) -> None:
        self.operations.append(operation)
        if operation == self.refused:
            raise VirError(ErrorCode.HOOK_SCRIPT_FAILED, operation)

    async def notify(
        self, network: Any, operation: str, port: Any = None, sub: str = "begin"
    ) -> None:
        self.operations.append(operation)


class FakeBus:
    """The bus, and the control link to the root."""

    def __init__(self) -> None:
        self.events: list[int] = []
        self.votes: list[bool] = []

    @property
    def control(self) -> FakeBus:
        return self

    def send(self, message: Event) -> None:
        assert isinstance(message, KeepRunning)
        self.votes.append(message.busy)

    def publish(self, event: Event) -> None:
        if isinstance(event, ClientEvent):
            self.events.append(int.from_bytes(event.payload[-8:-4]))


@dataclass
class FakeHost:
    """Everything that outlives netd, and the files below a folder."""

    folder: Path
    links: FakeLinks = field(default_factory=FakeLinks)
    rules: FakeRules = field(default_factory=FakeRules)
    dnsmasq: dict[Path, str] = field(default_factory=dict)  # configuration that each process read

    def __post_init__(self) -> None:
        for key in SETTINGS:
            path = self.folder / "proc" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("7\n")
        self.paths = Paths.system(self.folder)
        self.paths.network_status_dir().mkdir(parents=True)

    def leftovers(self) -> list[str]:
        """Everything that belongs to networks."""
        folder = self.paths.dnsmasq()
        files = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
        return [
            *(name for name, link in self.links.by_name.items() if link.kind == "bridge"),
            *(" ".join(each) for each in self.links.address_list + self.links.route_list),
            *self.links.limited,
            *self.rules.installed,
            *(path.name for path in self.dnsmasq),
            *files,
        ]


class FakeDnsmasq(Dnsmasq):
    """A dnsmasq process on the fake host."""

    def __init__(self, host: FakeHost, paths: DnsmasqPaths, netd: FakeNetd) -> None:
        super().__init__(paths, on_trouble=logging.error)
        self._host = host
        self._netd = netd
        self._started = False

    @property
    def pid(self) -> int:
        return 1 if self._started and self.files.config in self._host.dnsmasq else 0

    async def start(self) -> None:
        if self._netd.dnsmasq_hangs:
            await asyncio.Event().wait()
        self._host.dnsmasq.setdefault(self.files.config, self.files.config.read_text())
        self._started = True

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def stop(self) -> None:
        self._host.dnsmasq.pop(self.files.config, None)

    def reload(self) -> None:
        pass


class FaultyExecutor(StepExecutor):
    """Does the steps, and reports a failure after the step of a number."""

    broken: int | None = None
    count = 0

    async def do(self, step: Step) -> None:
        await super().do(step)
        self.count += 1
        if self.broken is not None and self.count == self.broken + 1:
            raise VirError(ErrorCode.SYSTEM_ERROR, f"injected after {type(step).__name__}")


class FakeNetd:
    """One netd on a host: what is in the memory of the process."""

    def __init__(self, host: FakeHost) -> None:
        async def select_firewall() -> Firewall:
            return Firewall(host.rules)

        self.host = host
        self.dnsmasq_hangs = False  # at its start
        self.reattached: list[str] = []  # networks whose guests' interfaces were checked
        self.registry, self.store, self.bus = (
            network_registry(),
            NetworkFiles(host.paths),
            FakeBus(),
        )
        self.hooks = FakeHooks()
        self.services = NetworkServices(
            host.paths, select_firewall, lambda paths: FakeDnsmasq(host, paths, self)
        )
        self.executor = FaultyExecutor(host.links, Sysctl(host.folder / "proc"), self.services)
        self.networks = Networks(
            self.registry,
            self.store,
            self.executor,
            host.links,
            self.services,
            self.hooks,
            Publisher(self.bus, "network"),
            KeepRunningVote(self.bus, busy="networks run", idle="no network runs"),
            session=False,
        )
