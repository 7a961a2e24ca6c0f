"""A process from its fork to its end: real forks, a small root of the test's own."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from conf.settings import DaemonConfig, QemuConfig
from ipc import Ack, Descriptor, Event, Node, Peer, Request, Switchboard, current_call, handles
from supervisor.messages.child import ChildConfig, GetConfig, Reload, Stop
from supervisor.messages.root import Ready
from supervisor.runtime.child import FAILED, ORPHANED, ChildProcess, load_role, run_child


class Report(Event, frozen=True, kw_only=True, tag="test.report"):
    words: list[str]


class Poke(Request[Ack], frozen=True, kw_only=True, tag="test.poke"):
    deadline_s = 10.0


class Poked:
    """A role's service."""

    def __init__(self, process: ChildProcess) -> None:
        self.process = process

    @handles(Poke)
    def poke(self, call: Poke) -> Ack:
        self.process.node.control.send(Report(words=["poked", str(self.process.stopping.is_set())]))
        return Ack()


async def role(process: ChildProcess) -> None:
    """Log the arguments, report readiness, and stop at the root's order."""
    send = process.node.control.send
    fd = process.sockets["rw"]
    with socket.socket(fileno=fd) as listening:
        address = str(listening.getsockname())
    process.node.serve(Poked(process))
    process.on_reload.append(
        lambda: send(Report(words=["reloaded", str(process.config.max_clients)]))
    )
    send(Report(words=[process.name, str(process.paths.run), process.domain, address]))
    await process.ready()
    await process.stopping.wait()
    send(Report(words=["stopping"]))


async def broken(process: ChildProcess) -> None:
    """Fail at once."""
    raise OSError("no such disk")


def begin_log(name: str) -> None:
    logging.getLogger().handlers[:] = [logging.NullHandler()]


@pytest.fixture
def entries() -> Callable[[str], str]:
    """The roles of this file by a name that can be imported."""
    module = ModuleType("roles_of_test_process")
    vars(module).update(role=role, broken=broken)
    sys.modules[module.__name__] = module
    return lambda name: f"{module.__name__}:{name}"


class Root:
    """The part of the root that a child meets."""

    def __init__(self) -> None:
        self.board = Switchboard()
        self.board.serve(self)
        self.heard: asyncio.Queue[list[str]] = asyncio.Queue()
        self.ready = asyncio.Event()

    @handles(GetConfig)
    def begin(self, call: GetConfig) -> ChildConfig:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(f"\0virtvisor-test-{os.getpid()}")
        return ChildConfig(
            root="/srv/v",
            session=False,
            config=DaemonConfig(),
            qemu_config=QemuConfig(),
            sockets={"rw": Descriptor(listening.detach())},
            driver="qemu",
            domain="demo",
            uuid="u",
        )

    @handles(Ready)
    def on_ready(self, call: Ready) -> Ack:
        assert current_call().peer == "qemu:demo"
        self.board.mark_ready("qemu:demo")
        self.ready.set()
        return Ack()

    @handles(Report)
    def report(self, event: Report) -> None:
        self.heard.put_nowait(event.words)

    def fork(self, entry: str) -> tuple[int, Peer]:
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            status = 99
            try:
                ours.close()
                asyncio.events._set_running_loop(None)
                status = run_child(theirs, "qemu:demo", entry, begin_log)
            finally:
                os._exit(status)
        theirs.close()
        return pid, self.board.attach(ours, "qemu:demo")


async def status_of(pid: int) -> int:
    """Wait for the end of a child."""
    _, status = await asyncio.wait_for(asyncio.to_thread(os.waitpid, pid, 0), 10)
    return os.waitstatus_to_exitcode(status)


async def up(root: Root, entry: str) -> tuple[int, Peer]:
    pid, peer = root.fork(entry)
    words = await asyncio.wait_for(root.heard.get(), 10)
    assert words[0] == "qemu:demo"
    await asyncio.wait_for(root.ready.wait(), 10)
    return pid, peer


def test_a_process_learns_its_task_is_ready_reloads_and_stops(
    entries: Callable[[str], str],
) -> None:
    async def story() -> None:
        root = Root()
        pid, peer = root.fork(entries("role"))
        words = await asyncio.wait_for(root.heard.get(), 10)
        assert words[0] == "qemu:demo"
        assert Path(words[1]).is_relative_to("/srv/v")
        assert words[2] == "demo"
        assert "virtvisor-test" in words[3]
        await asyncio.wait_for(root.ready.wait(), 10)
        peer.send(Reload(config=DaemonConfig(max_clients=17), qemu_config=QemuConfig()))
        assert await asyncio.wait_for(root.heard.get(), 10) == ["reloaded", "17"]
        peer.send(Stop(why="the test is over"))
        assert await asyncio.wait_for(root.heard.get(), 10) == ["stopping"]
        assert await status_of(pid) == 0

    asyncio.run(story())


def test_sigterm_stops_in_order_and_sigint_is_ignored(entries: Callable[[str], str]) -> None:
    async def story() -> None:
        root = Root()
        pid, peer = await up(root, entries("role"))
        os.kill(pid, signal.SIGINT)
        await peer.call(Poke())
        assert await root.heard.get() == ["poked", "False"]
        os.kill(pid, signal.SIGTERM)
        assert await asyncio.wait_for(root.heard.get(), 10) == ["stopping"]
        assert await status_of(pid) == 0

    asyncio.run(story())


def test_a_process_ends_at_once_when_the_root_has_gone(entries: Callable[[str], str]) -> None:
    async def story() -> None:
        pid, peer = await up(Root(), entries("role"))
        peer.close()
        assert await status_of(pid) == ORPHANED

    asyncio.run(story())


@pytest.mark.parametrize("name", ["broken", "absent"])
def test_a_role_that_fails_or_is_not_there_ends_with_a_failure(
    entries: Callable[[str], str], name: str
) -> None:
    async def story() -> None:
        root = Root()
        pid, peer = root.fork(entries(name))
        assert await status_of(pid) == FAILED
        await peer.wait_closed()

    asyncio.run(story())


def test_only_the_root_is_obeyed(entries: Callable[[str], str]) -> None:
    async def story() -> None:
        root = Root()
        pid, peer = await up(root, entries("role"))
        ours, theirs = socket.socketpair()
        root.board.attach(ours, "tester")
        tester = Node(theirs, "tester")
        link = tester.link("qemu:demo")
        await link.call(Poke())
        (direct,) = tester._peers
        direct.send(Stop(why="a stranger says so"))
        await link.call(Poke())
        assert await root.heard.get() == ["poked", "False"]
        assert await root.heard.get() == ["poked", "False"]
        tester.close()
        peer.send(Stop(why="over"))
        assert await status_of(pid) == 0

    asyncio.run(story())


def test_an_entry_that_is_not_there_is_named() -> None:
    with pytest.raises(SystemExit, match=r"supervisor\.nothing:serve"):
        load_role("supervisor.nothing:serve")
