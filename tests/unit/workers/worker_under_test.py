"""A worker on a real bus whose driver is the test's; its guests are processes that sleep."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from conf.domain import parse_domain
from conf.settings import DaemonConfig, QemuConfig
from ipc import Node, Switchboard
from rpc.enums import DomainShutoffReason, DomainState
from supervisor.dispatch.errors import VirErrorCodec
from supervisor.messages.worker import AttachDevice, DomainStopped, Start, StatusChanged
from supervisor.objects.domain_status_xml import Status, write_status
from supervisor.runtime.child import ChildProcess
from supervisor.runtime.paths import Paths
from supervisor.runtime.pidfd import GuestProcess
from supervisor.workers.context import WorkerContext
from supervisor.workers.driver_ops import DriverOps
from supervisor.workers.running_guest import RunningGuest, new_status, record_process
from supervisor.workers.worker import Worker

UUID = "00000000-0000-4000-8000-000000000001"
XML = f"""<domain type='qemu'><name>web</name><uuid>{UUID}</uuid><memory>65536</memory>
<os><type arch='x86_64' machine='pc'>hvm</type></os></domain>"""
SLEEP = shutil.which("sleep") or "/bin/sleep"


class Guest(RunningGuest):
    """A guest that sleeps."""


class Ops:
    """The driver's operations; a test replaces those that it is about."""

    def __init__(self) -> None:
        self.cleaned_up: list[str] = []
        self.before_launch: Callable[[], Awaitable[None]] = nothing
        self.before_clean_up: Callable[[], Awaitable[None]] = nothing
        self.change: Callable[[], Awaitable[None]] = nothing

    async def launch(self, context: WorkerContext, request: Start) -> Guest:
        await self.before_launch()
        domain = parse_domain(request.xml)
        status = new_status(domain, request.id, request.autodestroy)
        process = spawn_guest(status)
        status.state, status.reason = DomainState.RUNNING, 1
        guest = Guest(context, domain, status, process)
        guest.save()
        return guest

    async def end(self, guest: Guest, reason: DomainShutoffReason, *, graceful: bool) -> None:
        guest.status.ending = guest.status.ending or reason
        guest.process.send_signal(signal.SIGTERM if graceful else signal.SIGKILL)
        await guest.process.wait_exit(5)

    async def clean_up(self, context: WorkerContext, status: Status, xml: str) -> None:
        await self.before_clean_up()
        self.cleaned_up.append(status.name)

    async def attach(self, guest: Guest, xml: str) -> None:
        await self.change()

    async def acknowledge(self, guest: Guest, *_: Any) -> None:
        """Do nothing."""

    async def get_stats(self, guest: Guest, groups: int) -> list[Any]:
        return []

    def table(self) -> DriverOps[Guest]:
        """The operations as the worker gets them."""

        def attach(guest: Guest, request: AttachDevice) -> Coroutine[Any, Any, None]:
            return self.attach(guest, request.xml)

        return DriverOps(
            launch=self.launch, end=self.end, clean_up=self.clean_up, attach=attach,
            detach=self.acknowledge, update=self.acknowledge, shutdown=self.acknowledge,
            reboot=self.acknowledge, suspend=self.acknowledge, resume=self.acknowledge,
            get_stats=self.get_stats,
        )  # fmt: skip


async def nothing() -> None:
    """Do nothing."""


def spawn_guest(status: Status) -> GuestProcess:
    """Have a guest's process run."""
    process = GuestProcess.open_child(os.posix_spawn(SLEEP, [SLEEP, "600"], {}))
    record_process(status, process.identity)
    return process


class Domd:
    """domd's side: it makes requests and gets events."""

    def __init__(self, root: Path) -> None:
        self.paths = Paths.system(root)
        self.paths.for_driver("qemu").status_dir().mkdir(parents=True, exist_ok=True)
        self.board = Switchboard(VirErrorCodec())
        self.node = self.join("domd")
        self.events: list[DomainStopped | StatusChanged] = []
        self.ops = Ops()
        self.worker = self.make_worker()

    def join(self, name: str) -> Node:
        """Add a process to the bus."""
        ours, theirs = socket.socketpair()
        self.board.attach(ours, name)
        node = Node(theirs, name, VirErrorCodec())
        self.board.mark_ready(name)
        return node

    def make_worker(self) -> Worker[Guest]:
        """Make a worker, with no guest."""
        node = self.join("qemu:web")
        process = ChildProcess(
            name="qemu:web", paths=self.paths, config=DaemonConfig(), qemu_config=QemuConfig(),
            node=node, stopping=asyncio.Event(), session=False, driver="qemu", domain="web",
            uuid=UUID,
        )  # fmt: skip
        worker = Worker(WorkerContext.for_process(process), self.ops.table())
        node.serve(worker)
        self.node.subscribe("qemu:web", DomainStopped, self.events.append)
        self.node.subscribe("qemu:web", StatusChanged, self.events.append)
        return worker

    def reconnect(self, *, guest_runs: bool = True) -> None:
        """Give the worker a guest, or the end of one, that a predecessor left."""
        context = WorkerContext.for_process(self.worker._context.process)
        status = new_status(parse_domain(XML), 7, "")
        process = spawn_guest(status)
        if guest_runs:
            self.worker.attach_guest(Guest(context, XML, status, process))
        else:
            write_status(context.paths.status("web"), status, XML)
            process.send_signal(signal.SIGKILL)
            self.worker.set_stopped(status)

    async def call(self, request: Any) -> Any:
        """Make a request of the worker."""
        return await self.node.link("qemu:web").call(request)

    @property
    def status_file(self) -> Path:
        return self.paths.for_driver("qemu").status("web")


@contextlib.asynccontextmanager
async def domd(root: Path) -> AsyncIterator[Domd]:
    """A domd with a worker that has no guest."""
    service = Domd(root)
    try:
        yield service
    finally:
        guest = service.worker._guest
        if guest is not None:
            guest.process.send_signal(signal.SIGKILL)
            await guest.process.wait_exit(5)
        service.worker.close()
        service.worker._context.node.close()
        service.node.close()
        await asyncio.sleep(0.01)
