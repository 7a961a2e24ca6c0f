"""A domd on a real bus, whose root, workers, guests and clients are the test's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from conf.domain import Domain, format_domain, parse_domain
from conf.settings import DaemonConfig, QemuConfig
from ipc import Ack, Node, Request, Switchboard, current_call, handles
from rpc import table as wire_table
from rpc.enums import DomainEventID, DomainEventStoppedDetailType, DomainEventType, DomainState
from rpc.enums import DomainShutoffReason as Shutoff
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Domain as DomainId
from supervisor.dispatch.errors import VirErrorCodec
from supervisor.domd.definition_builder import DefinitionBuilder, LxcCompletion
from supervisor.domd.main import run_registry
from supervisor.drivers.driver import Driver
from supervisor.drivers.lxc import LXC
from supervisor.drivers.qemu import QEMU
from supervisor.messages.calls import (
    Client,
    ClientClosed,
    ClientEvent,
    ClientReply,
    ClientRequest,
    Identity,
    InvalidateCache,
)
from supervisor.messages.root import (
    EndWorker,
    KeepRunning,
    ListProcesses,
    Processes,
    ProcessState,
    ProcessStatus,
    Ready,
    Renewed,
    RenewWorker,
    ReplaceWorker,
    SpawnWorker,
    WorkerSpawned,
)
from supervisor.messages.rpcd import ClientList, ListClients
from supervisor.messages.worker import (
    AbortJob,
    AttachDevice,
    Destroy,
    DomainStatus,
    DomainStopped,
    GetStatus,
    GetTuning,
    Reboot,
    Resume,
    Save,
    SetLifecycleAction,
    SetMetadata,
    SetTuning,
    Shutdown,
    ShutoffInfo,
    Start,
    StatusChanged,
    Suspend,
    Tuning,
    UpdateDevice,
    WorkerStatus,
)
from supervisor.messages.worker_resources import PinThreads, SetBalloon, SetVcpuCount
from supervisor.objects.domain_status_xml import Status, remove_status, write_status
from supervisor.objects.tuning_edits import edit_running
from supervisor.runtime.child import ChildProcess
from supervisor.runtime.host import boot_id
from supervisor.runtime.paths import Paths
from supervisor.runtime.procfs import start_time

REMOTE = 0x20008086
DEADLINE_S = 10.0
UUID = "00000000-0000-4000-8000-000000000001"
DOM = DomainId("web", bytes.fromhex(UUID.replace("-", "")), -1)
XML = {
    "qemu": f"""<domain type='qemu'><name>web</name><uuid>{UUID}</uuid><memory>65536</memory>
<os><type arch='x86_64' machine='pc'>hvm</type></os><devices>
<interface type='user'><mac address='52:54:00:00:00:01'/></interface></devices></domain>""",
    "lxc": f"""<domain type='lxc'><name>web</name><uuid>{UUID}</uuid><memory>65536</memory>
<os><type>exe</type><init>/init</init></os><devices>
<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/></interface>
</devices></domain>""",
}
STOPPED = (DomainEventType.STOPPED, DomainEventStoppedDetailType.DESTROYED)


class NoDefaults:
    """Completes nothing: no emulator is probed."""

    async def complete(self, domain: Domain, size: int, *, validate: bool = True) -> Domain:
        return domain

    def invalidate(self) -> None:
        """Nothing is cached."""


@dataclass
class Host:
    """What outlives every process of the daemon: guests, and their status files."""

    driver: Driver
    paths: Paths
    guests: dict[str, DomainStatus] = field(default_factory=dict)  # by domain name
    shutoffs: dict[str, ShutoffInfo] = field(default_factory=dict)  # what ended unseen

    def run(self, status: DomainStatus) -> None:
        """Have a guest run, with its status file."""
        assert status.live_xml, "a test's guest has its XML"
        self.guests[status.name] = status
        self.paths.status_dir().mkdir(parents=True, exist_ok=True)
        self._write_status(status, start_time(os.getpid()) or 0)

    def begin(self, name: str) -> None:
        """Write the status file of a start whose emulator is not recorded yet."""
        self.paths.status_dir().mkdir(parents=True, exist_ok=True)
        facts = Status(name=name, uuid=UUID, id=1, state=DomainState.NOSTATE, reason=0, pid=0)
        live = parse_domain(XML[self.driver.name])
        write_status(self.paths.status(name), facts, format_domain(live, live=True, secure=True))

    def end(self, name: str) -> None:
        """End a guest; its status file stays until a worker has cleaned up."""
        # A process of this pid and another start time: the guest's has exited.
        self._write_status(self.guests.pop(name), 0)

    def _write_status(self, status: DomainStatus, start: int) -> None:
        facts = Status(
            name=status.name, uuid=UUID, id=status.id, state=status.state, reason=status.reason,
            pid=os.getpid(), start=start, boot=boot_id(), autodestroy=status.autodestroy,
        )  # fmt: skip
        write_status(self.paths.status(status.name), facts, status.live_xml)


Script = Callable[["FakeWorker", Any], Awaitable[Any]]


def reported(status: DomainStatus) -> DomainStatus:
    """A status with the time of its report: domd ignores one that is older than what it knows."""
    return msgspec.structs.replace(status, reported_ns=time.monotonic_ns())


class FakeWorker:
    """A worker; it drives the host's guest of its domain, as its scripts say."""

    def __init__(self, tree: Tree, name: str, domain: str) -> None:
        self.tree, self.name, self.domain = tree, name, domain
        self.host = tree.host
        self.shutoff = self.host.shutoffs.pop(domain, None)
        self.requests: list[Request[Any]] = []
        self.node = tree.join(name)
        self.node.serve(self)
        self.started = asyncio.Event()  # no start is under way
        self.started.set()
        tree.board.mark_ready(name)

    @property
    def guest(self) -> DomainStatus | None:
        return self.host.guests.get(self.domain)

    async def _run(self, request: Request[Any], default: Script) -> Any:
        self.requests.append(request)
        script = self.tree.scripts.get(type(request))
        if script is None:
            return await default(self, request)
        return await script(self, request)

    @handles(ClientRequest)
    async def client_request(self, request: ClientRequest) -> ClientReply:
        reply: ClientReply = await self._run(request, FakeWorker.refuse)
        return reply

    async def refuse(self, request: ClientRequest) -> ClientReply:
        """Refuse a client's call that no script answers."""
        raise VirError(ErrorCode.NO_SUPPORT, str(request.procedure), ErrorDomain.QEMU)

    @handles(Start)
    async def start(self, request: Start) -> DomainStatus:
        self.started.clear()
        try:
            status: DomainStatus = await self._run(request, FakeWorker.launch)
            return status
        finally:
            self.started.set()

    async def launch(self, request: Start) -> DomainStatus:
        """Start the guest."""
        domain = parse_domain(request.xml)
        domain.id = request.id
        status = DomainStatus(
            uuid=DOM.uuid, name=domain.name, id=request.id, pid=4711, reason=1, started_at=1.0,
            state=DomainState.PAUSED if request.paused else DomainState.RUNNING,
            live_xml=format_domain(domain, live=True, secure=True),
            autodestroy=request.autodestroy,
            controllers=("cpu", "memory", "blkio") if self.host.driver is LXC else (),
        )  # fmt: skip
        self.host.run(status)
        return reported(status)

    @handles(GetStatus)
    async def get_status(self, request: GetStatus) -> WorkerStatus:
        await self.started.wait()

        async def answer(worker: FakeWorker, _: GetStatus) -> WorkerStatus:
            guest = reported(worker.guest) if worker.guest is not None else None
            return WorkerStatus(guest=guest, shutoff=worker.shutoff)

        status: WorkerStatus = await self._run(request, answer)
        return status

    @handles(Destroy)
    async def destroy(self, request: Destroy) -> Ack:
        await self.started.wait()

        async def destroyed(worker: FakeWorker, _: Destroy) -> Ack:
            worker.require()
            worker.end_guest()
            return Ack()

        return await self._run(request, destroyed)  # type: ignore[no-any-return]

    @handles(Suspend)
    async def suspend(self, request: Suspend) -> Ack:
        return await self._acknowledge(request)

    @handles(Resume)
    async def resume(self, request: Resume) -> Ack:
        return await self._acknowledge(request)

    @handles(Shutdown)
    async def shutdown(self, request: Shutdown) -> Ack:
        return await self._acknowledge(request)

    @handles(Reboot)
    async def reboot(self, request: Reboot) -> Ack:
        return await self._acknowledge(request)

    @handles(Save)
    async def save(self, request: Save) -> Ack:
        async def saved(worker: FakeWorker, _: Save) -> Ack:
            worker.require()
            worker.end_guest(Shutoff.SAVED, DomainEventStoppedDetailType.SAVED)
            return Ack()

        return await self._run(request, saved)  # type: ignore[no-any-return]

    @handles(AbortJob)
    async def abort_job(self, request: AbortJob) -> Ack:
        return await self._acknowledge(request)

    @handles(UpdateDevice)
    async def update_device(self, request: UpdateDevice) -> DomainStatus:
        return await self._change(request)

    @handles(AttachDevice)
    async def attach_device(self, request: AttachDevice) -> DomainStatus:
        return await self._change(request)

    @handles(SetLifecycleAction)
    async def set_lifecycle_action(self, request: SetLifecycleAction) -> DomainStatus:
        return await self._change(request)

    @handles(SetMetadata)
    async def set_metadata(self, request: SetMetadata) -> DomainStatus:
        return await self._change(request)

    @handles(SetVcpuCount)
    async def set_vcpu_count(self, request: SetVcpuCount) -> DomainStatus:
        return await self._change(request)

    @handles(PinThreads)
    async def pin_threads(self, request: PinThreads) -> DomainStatus:
        return await self._change(request)

    @handles(SetBalloon)
    async def set_balloon(self, request: SetBalloon) -> DomainStatus:
        return await self._change(request)

    @handles(SetTuning)
    async def set_tuning(self, request: SetTuning) -> DomainStatus:
        async def tuned(worker: FakeWorker, request: SetTuning) -> DomainStatus:
            status = worker.require()
            domain = parse_domain(status.live_xml)
            edit_running(domain, request.controller, request.values, worker.host.driver.errors)
            xml = format_domain(domain, live=True, secure=True)
            status = msgspec.structs.replace(status, live_xml=xml, xml_version=7)
            worker.host.run(status)
            return reported(status)

        return await self._run(request, tuned)  # type: ignore[no-any-return]

    @handles(GetTuning)
    async def get_tuning(self, request: GetTuning) -> Tuning:
        async def in_no_cgroup(worker: FakeWorker, request: GetTuning) -> Tuning:
            detail = f"cgroup {request.controller} controller is not mounted"
            raise worker.host.driver.errors.operation_invalid(detail)

        return await self._run(request, in_no_cgroup)  # type: ignore[no-any-return]

    async def _acknowledge(self, request: Request[Ack]) -> Ack:
        async def acknowledge(worker: FakeWorker, _: object) -> Ack:
            worker.require()
            return Ack()

        return await self._run(request, acknowledge)  # type: ignore[no-any-return]

    async def _change(self, request: Request[DomainStatus]) -> DomainStatus:
        async def unchanged(worker: FakeWorker, _: object) -> DomainStatus:
            return reported(worker.require())

        return await self._run(request, unchanged)  # type: ignore[no-any-return]

    def require(self) -> DomainStatus:
        """Return the guest.

        Raises:
            VirError: OPERATION_INVALID: there is none.
        """
        if self.guest is None:  # as the real worker, so that domd retries after a worker's death
            raise self.host.driver.errors.operation_invalid(f"'{self.domain}' has no guest")
        return self.guest

    def change_state(self, state: DomainState, event: int, detail: int, **more: Any) -> None:
        """Have the guest's state change."""
        status = msgspec.structs.replace(reported(self.require()), state=state, **more)
        self.host.run(status if status.live_xml else self.require())
        self.node.publish(StatusChanged(status=status, event=event, detail=detail))

    def end_guest(
        self,
        reason: Shutoff = Shutoff.DESTROYED,
        detail: int = STOPPED[1],
        *,
        restart: bool = False,
        rename: bool = False,
    ) -> None:
        """End the guest, clean up and report it."""
        self.host.end(self.domain)
        remove_status(self.host.paths.status(self.domain))
        self.shutoff = ShutoffInfo(reason=reason, detail=detail)
        self.node.publish(
            DomainStopped(
                uuid=DOM.uuid, name=self.domain, reason=reason, event=STOPPED[0], detail=detail,
                restart=restart, rename=rename,
            )
        )  # fmt: skip

    def die(self) -> None:
        """End as by SIGKILL: the root spawns a successor, which finds the guest if it runs."""
        self.node.close()


class Tree:
    """The root, and every process that the test has."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.board = Switchboard(VirErrorCodec())
        self.board.serve(self)
        # As the root does: a worker that was never spawned, or was ended, is not waited for.
        self.board.expects = lambda name: name in self.workers or ":" not in name
        self.workers: dict[str, FakeWorker] = {}
        self.ended: list[str] = []  # workers that domd had ended
        self.renewed: list[str] = []  # workers that domd had renewed
        self.scripts: dict[type, Script] = {}
        self.respawns = True  # workers that die
        self.clients = ["client-1"]
        self.events: list[tuple[int, int]] = []  # lifecycle: event, detail
        self.other_events: list[int] = []
        self.keep_running = False
        self.spawn_error: Exception | None = None
        self.rpcd = self._join_rpcd()

    def join(self, name: str) -> Node:
        """Connect a process to the root."""
        ours, theirs = socket.socketpair()
        self.board.attach(ours, name).on_lost.append(lambda _: self._process_ended(name))
        return Node(theirs, name, VirErrorCodec())

    # What the root answers.

    @handles(Ready)
    def ready(self, _: Ready) -> Ack:
        self.board.mark_ready(current_call().peer)
        return Ack()

    @handles(SpawnWorker)
    def spawn_worker(self, request: SpawnWorker) -> WorkerSpawned:
        if self.spawn_error is not None:
            raise self.spawn_error
        name = f"{request.driver}:{request.domain}"
        existed = name in self.workers
        if not existed:
            self.workers[name] = FakeWorker(self, name, request.domain)
        return WorkerSpawned(name=name, pid=1, existed=existed)

    @handles(EndWorker)
    def end_worker(self, request: EndWorker) -> Ack:
        self.ended.append(request.name)
        worker = self.workers.pop(request.name, None)
        if worker is not None:
            worker.die()
        return Ack()

    @handles(ReplaceWorker)
    async def replace_worker(self, request: ReplaceWorker) -> Ack:
        async def replaced(worker: FakeWorker, _: ReplaceWorker) -> Ack:
            worker.die()
            return Ack()

        script = self.scripts.get(ReplaceWorker, replaced)
        return await script(self.workers[request.name], request)  # type: ignore[no-any-return]

    @handles(RenewWorker)
    def renew_worker(self, request: RenewWorker) -> Renewed:
        self.renewed.append(request.name)
        self.workers[request.name].die()
        return Renewed(renewed=True)

    @handles(ListProcesses)
    def list_processes(self, _: ListProcesses) -> Processes:
        return Processes(
            processes=[
                ProcessStatus(
                    name=name,
                    pid=1,
                    state=ProcessState.RUNNING,
                    restarts=0,
                    uptime_s=1.0,
                    private_kib=1,
                )
                for name in self.workers
            ]
        )

    @handles(KeepRunning)
    def on_keep_running(self, event: KeepRunning) -> None:
        self.keep_running = event.busy

    def _process_ended(self, name: str) -> None:
        if self.board.peer(name) is not None:
            return  # it was ended, and another has its name already
        worker = self.workers.pop(name, None)
        if worker is not None and self.respawns:
            self.workers[name] = FakeWorker(self, name, worker.domain)

    # What rpcd answers.

    def _join_rpcd(self) -> Node:
        node = self.join("rpcd")
        node.handlers.add_function(ListClients, self.list_clients)
        self.board.mark_ready("rpcd")
        return node

    def restart_rpcd(self) -> None:
        """Kill rpcd, and its clients' connections with it."""
        self.clients.clear()
        self.rpcd.close()
        self.rpcd = self._join_rpcd()

    def list_clients(self, _: ListClients) -> ClientList:
        return ClientList(identifiers=self.clients)

    def close_client(self, client: str) -> None:
        """Have a client's connection end."""
        self.clients.remove(client)
        self.rpcd.publish(ClientClosed(client=client))

    def on_event(self, event: ClientEvent) -> None:
        """Record an event that clients get."""
        if event.event_id != DomainEventID.LIFECYCLE or event.family != "domain":
            self.other_events.append(event.event_id)
            return
        procedure = wire_table.load().named("domain_event_callback_lifecycle")
        _, message = procedure.decode_args(b"\0\0\0\0" + event.payload)
        self.events.append((message.event, message.detail))

    @property
    def worker(self) -> FakeWorker:
        """The domain's worker."""
        return self.workers[self.host.driver.worker("web")]


class Domd:
    """The process under test, and a client's way to it."""

    def __init__(self, tree: Tree) -> None:
        self.tree, self.host = tree, tree.host
        self.driver = tree.host.driver
        # Each life has its own name on the bus, as rpcd would make a new link.
        self.node = tree.join(self.driver.service)
        self._process = ChildProcess(
            name=self.driver.service,
            paths=Paths.system(tree.host.paths.root),
            config=DaemonConfig(),
            qemu_config=QemuConfig(),
            node=self.node,
            stopping=asyncio.Event(),
            session=False,
        )
        self.node.serve(self._process)
        completion = LxcCompletion("x86_64") if self.driver is LXC else NoDefaults()
        builder = DefinitionBuilder(completion)
        self._task = asyncio.create_task(run_registry(self._process, self.driver, builder))

    async def wait_ready(self) -> None:
        """Wait until it takes calls, and have its events."""
        name = self.driver.service
        await until(lambda: self.tree.board.is_ready(name) or self._task.done())
        if self._task.done():
            self._task.result()
        with contextlib.suppress(ValueError):  # it is subscribed to since an earlier life
            self.tree.rpcd.subscribe(name, ClientEvent, self.tree.on_event)
            self.tree.rpcd.subscribe(name, InvalidateCache, lambda _: None)
        await self.call("domain_get_state", DOM, 0, ignore_errors=True)

    async def call(
        self, name: str, *arguments: object, client: str = "client-1", ignore_errors: bool = False
    ) -> Any:
        """Make a client's call."""
        procedure = wire_table.load().named(name)
        request = ClientRequest(
            program=REMOTE,
            procedure=procedure.number,
            payload=procedure.encode_args(arguments),
            client=Client(
                id=client, identity=Identity(uid=0, gid=0, pid=1), read_only=False,
                uri=f"{self.driver.name}:///system", driver=self.driver.name,
            ),
        )  # fmt: skip
        link = self.tree.rpcd.link(self.driver.service)
        try:
            reply = await link.call(request, deadline_s=DEADLINE_S)
        except Exception:
            if ignore_errors:
                return None
            raise
        return procedure.decode_ret(reply.payload)

    async def define(self, xml: str = "") -> None:
        """Define the domain "web"."""
        await self.call("domain_define_xml", xml or XML[self.driver.name])

    async def start(self, flags: int = 0) -> None:
        """Start it."""
        await self.call("domain_create_with_flags", DOM, flags)

    async def destroy(self) -> None:
        """Destroy it."""
        await self.call("domain_destroy", DOM)

    async def state(self) -> int:
        """VirDomainState."""
        state, _ = await self.call("domain_get_state", DOM, 0)
        return int(state)

    async def is_active(self) -> bool:
        """Whether it is active."""
        return bool(await self.call("domain_is_active", DOM))

    async def xml(self, flags: int = 0) -> str:
        """The XML that clients get."""
        return str(await self.call("domain_get_xml_desc", DOM, flags))

    async def die(self) -> None:
        """End as by SIGKILL."""
        self._task.cancel()
        self.node.close()
        await asyncio.wait({self._task})
        await until(lambda: not self.tree.board.is_ready(self.driver.service))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens in another task."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  (the condition is in another object)
            await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def domd(root: Path, driver: Driver = QEMU) -> AsyncIterator[Domd]:
    """Run a domd (or lxcd), ready, with nothing defined."""
    tree = Tree(Host(driver, Paths.system(root).for_driver(driver.name)))
    service = Domd(tree)
    try:
        await service.wait_ready()
        yield service
    finally:
        await service.die()
        await close(tree)


@contextlib.asynccontextmanager
async def successor(previous: Domd) -> AsyncIterator[Domd]:
    """Kill a domd and run another one in its place."""
    await previous.die()
    service = Domd(previous.tree)
    try:
        await service.wait_ready()
        yield service
    finally:
        await service.die()


async def close(tree: Tree) -> None:
    """Close every link."""
    tree.respawns = False
    for worker in list(tree.workers.values()):
        worker.die()
    tree.rpcd.close()
    await asyncio.sleep(0.01)


def requests_of(worker: FakeWorker, kinds: Iterable[type]) -> list[Request[Any]]:
    """The requests of some types that a worker has had."""
    kinds = tuple(kinds)
    return [request for request in worker.requests if isinstance(request, kinds)]
