"""A QEMU worker on a real bus: root, domd, hostd and netd are the test's, QEMU is `fake_qemu`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from conf.domain import format_domain, parse_domain
from conf.domain.defaults import complete
from conf.emulator import EmulatorFacts
from conf.settings import DaemonConfig, QemuConfig
from ipc import Ack, Descriptor, Link, Node, Peer, Switchboard, current_call, handles
from rpc import table as wire_table
from rpc.enums import DomainEventType
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Domain as DomainId
from supervisor.dispatch.errors import VirErrorCodec
from supervisor.messages.calls import Client, ClientEvent, ClientRequest, Identity
from supervisor.messages.child import HandOver, Inheritance
from supervisor.messages.hostd import CpuText, DescribeLiveCpu, EmulatorProbed, ProbeEmulator
from supervisor.messages.netd import AdoptPort, AttachPort, DetachPort, PortAttached
from supervisor.messages.root import Ready
from supervisor.messages.worker import (
    DomainStatus,
    DomainStopped,
    ForwardEvent,
    GetStatus,
    Start,
    StatusChanged,
    WorkerStatus,
)
from supervisor.runtime.child import ChildProcess
from supervisor.runtime.paths import Paths
from supervisor.workers.qemu.main import serve
from tests.cgroups import groups_of, remove_groups

FAKE = Path(__file__).with_name("fake_qemu.py")
UUID = "00000000-0000-4000-8000-000000000001"
WAIT_S = 10.0
INTERFACE = (
    "<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/>"
    "<model type='e1000'/></interface>"
)
Script = dict[str, list[Any]]


class WorkerTree:
    """The processes around one worker."""

    def __init__(self, folder: Path, facts: EmulatorFacts) -> None:
        self.name = f"t{uuid.uuid4().hex[:8]}"  # its cgroup is the machine's: no two tests' alike
        self.paths = Paths.system(folder / "root")
        self.facts = facts
        self.board = Switchboard(VirErrorCodec())
        self.board.serve(self)
        self.failing: set[type] = set()  # requests that hostd and netd refuse
        self.described: list[DescribeLiveCpu] = []
        self.ports: list[str] = []  # taps that are attached
        self.adopted: list[str] = []  # interfaces that another daemon attached
        self.lifecycle: list[tuple[int, int]] = []
        self.states: list[int] = []
        self.forwarded: list[ClientEvent] = []
        self.stopped: list[DomainStopped] = []
        self.controls: dict[str, Peer] = {}  # the root's ends of the control links
        self.binary = folder / "bin/qemu-system-x86_64"
        self.binary.parent.mkdir()
        for parent in (folder, self.binary.parent):
            parent.chmod(0o755)
        body = FAKE.read_text()
        self.binary.write_text(f"#!{sys.executable} -IS\n{body}")
        self.binary.chmod(0o755)
        self.script({})
        for service in ("hostd", "netd", "domd"):
            self.join(service).serve(self)
            self.board.mark_ready(service)
        self.domd = self.nodes["domd"]
        worker = f"qemu:{self.name}"
        self.domd.subscribe(worker, StatusChanged, self._changed)
        self.domd.subscribe(worker, DomainStopped, self._stopped)
        self.domd.subscribe(worker, ForwardEvent, lambda event: self.forwarded.append(event.event))

    nodes: dict[str, Node]

    def join(self, name: str) -> Node:
        """Connect a process to the root."""
        ours, theirs = socket.socketpair()
        self.controls[name] = self.board.attach(ours, name)
        node = Node(theirs, name, VirErrorCodec())
        self.__dict__.setdefault("nodes", {})[name] = node
        return node

    def script(self, script: Script) -> None:
        """Say what QEMU does from now on."""
        path = self.binary.with_name("script.new")
        path.write_text(json.dumps(script))
        path.rename(self.binary.with_name("script"))

    def commands(self) -> list[str]:
        """The QMP commands that QEMU has got."""
        path = self.binary.with_name("commands")
        return path.read_text().split() if path.exists() else []

    @property
    def worker(self) -> Link:
        """domd's link to the worker."""
        return self.domd.link(f"qemu:{self.name}")

    def xml(self, devices: str = "") -> str:
        """A definition, completed as domd does."""
        domain = parse_domain(
            f"<domain type='qemu'><name>{self.name}</name><uuid>{UUID}</uuid>"
            "<memory>65536</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='pc'>hvm</type>"
            f"</os><devices><emulator>{self.binary}</emulator>"
            "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
            "<graphics type='vnc' autoport='yes' port='-1' websocket='-1'/>"
            f"<memballoon model='none'/>{devices}</devices></domain>"
        )
        complete(domain, self.facts)
        return format_domain(domain, secure=True)

    async def start(self, devices: str = "", *, paused: bool = False) -> DomainStatus:
        """Have the worker start the domain."""
        request = Start(xml=self.xml(devices), id=1, paused=paused)
        return await self.worker.call(request)

    async def call(
        self, name: str, *arguments: object, descriptors: Sequence[Descriptor] = ()
    ) -> Any:
        """Make a client's call on the domain, as domd forwards it."""
        procedure = wire_table.load().named(name)
        dom = DomainId(self.name, uuid.UUID(UUID).bytes, 1)
        client = Client(
            id="c", identity=Identity(uid=0), read_only=False, uri="qemu:///system", driver="qemu"
        )
        request = ClientRequest(
            program=procedure.program,
            procedure=procedure.number,
            payload=procedure.encode_args((dom, *arguments)),
            client=client,
            descriptors=list(descriptors),
        )
        return procedure.decode_ret((await self.worker.call(request)).payload)

    async def status(self) -> WorkerStatus:
        """Ask the worker for its domain's status."""
        return await self.worker.call(GetStatus())

    def hook(self, operation: str) -> None:
        """Install a hook script that fails at an operation."""
        path = self.paths.hook("qemu")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/sh\n[ "$2" != "{operation}" ]\n')
        path.chmod(0o755)

    @asynccontextmanager
    async def run_worker(self, inherited: Inheritance | None = None) -> AsyncIterator[None]:
        """Run the worker; at the end it lets go of its domain, as when it is replaced.

        Args:
            inherited: what its predecessor has handed over.
        """
        name = f"qemu:{self.name}"
        process = ChildProcess(
            name=name,
            paths=self.paths,
            config=DaemonConfig(),
            qemu_config=QemuConfig(user="root", group="root", stdio_handler="file"),
            node=self.join(name),
            stopping=asyncio.Event(),
            session=False,
            driver="qemu",
            domain=self.name,
            uuid=UUID,
            inherited=inherited,
        )
        task = asyncio.create_task(serve(process))
        try:
            yield
        finally:
            process.stopping.set()
            with contextlib.suppress(SystemExit):
                await task
            process.node.close()
            self._release_lock()

    async def hand_over(self) -> Inheritance | None:
        """Ask the worker for its guest, as the root does before it replaces it."""
        return (await self.controls[f"qemu:{self.name}"].call(HandOver())).inheritance

    def _release_lock(self) -> None:
        """Close the worker's lock, as the end of its process does."""
        lock = str(self.paths.lock(self.name))
        for entry in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                if os.readlink(entry) == lock:
                    os.close(int(entry.name))

    def qemu_pids(self) -> list[int]:
        """The QEMU processes of the domain that the host has."""
        mark = b"HOME=" + os.fsencode(self.paths.domain_dir(1, self.name))
        pids = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    pids.append(int(entry.name))
        return pids

    def leftovers(self) -> list[str]:
        """What is left of the domain: processes, files, directories, ports."""
        paths = (
            self.paths.status(self.name),
            self.paths.pid_file(self.name),
            self.paths.domain_dir(1, self.name),
            self.paths.channels(1, self.name),
            self.paths.memory_dir(1, self.name, ""),
        )
        left = [str(path) for path in paths if path.exists()]
        left += [f"process {pid}" for pid in self.qemu_pids()]
        left += [f"group {group}" for group in groups_of(self.name)]
        return left + [f"port {tap}" for tap in self.ports]

    def close(self) -> None:
        """End what the test has left."""
        for pid in self.qemu_pids():
            with contextlib.suppress(OSError):
                os.kill(pid, 9)
        remove_groups(groups_of(self.name))
        for node in self.nodes.values():
            node.close()
        shutil.rmtree(self.paths.root, ignore_errors=True)

    # The other processes.

    @handles(Ready)
    def on_ready(self, _: Ready) -> Ack:
        self.board.mark_ready(current_call().peer)
        return Ack()

    @handles(ProbeEmulator)
    def probe(self, request: ProbeEmulator) -> EmulatorProbed:
        self._refuse(ProbeEmulator)
        return EmulatorProbed(facts=self.facts)

    @handles(DescribeLiveCpu)
    def describe_cpu(self, request: DescribeLiveCpu) -> CpuText:
        self._refuse(DescribeLiveCpu)
        self.described.append(request)
        feature = "<feature policy='require' name='hypervisor'/></cpu>"
        return CpuText(cpu=request.cpu.replace("</cpu>", feature))

    @handles(AttachPort)
    def attach_port(self, request: AttachPort) -> PortAttached:
        self._refuse(AttachPort)
        tap = "vnet7"
        self.ports.append(tap)
        interface = request.interface.replace("</interface>", f"<target dev='{tap}'/></interface>")
        descriptor = Descriptor(os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC))
        return PortAttached(interface=interface, tap=tap, taps=[descriptor], vhosts=[], host_mtu=0)

    @handles(AdoptPort)
    def adopt_port(self, request: AdoptPort) -> Ack:
        self._refuse(AdoptPort)
        self.adopted.append(request.interface)
        return Ack()

    @handles(DetachPort)
    def detach_port(self, request: DetachPort) -> Ack:
        self.ports = [tap for tap in self.ports if request.tap not in ("", tap)]
        return Ack()

    def _refuse(self, message: type) -> None:
        if message in self.failing:
            raise VirError(ErrorCode.OPERATION_FAILED, "refused by the test", ErrorDomain.NETWORK)

    def _changed(self, event: StatusChanged) -> None:
        self.states.append(event.status.state)
        if event.event >= 0:
            self.lifecycle.append((event.event, event.detail))

    def _stopped(self, event: DomainStopped) -> None:
        self.stopped.append(event)
        self.lifecycle.append((DomainEventType.STOPPED, event.detail))


@asynccontextmanager
async def tree_of(folder: Path, facts: EmulatorFacts) -> AsyncIterator[WorkerTree]:
    """A worker that is up, and what is around it."""
    tree = WorkerTree(folder, facts)
    try:
        async with tree.run_worker():
            yield tree
    finally:
        tree.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that is under way."""
    async with asyncio.timeout(WAIT_S):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)
