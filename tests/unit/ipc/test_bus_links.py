"""Links by name between real processes: death, restart, subscriptions, the root's part."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from ipc import (
    Ack,
    Connect,
    DeadlineExceeded,
    Descriptor,
    Event,
    LinkOffer,
    Node,
    NoSuchService,
    PeerGone,
    Request,
    Switchboard,
    current_call,
    handles,
)

Run = Callable[[Coroutine[Any, Any, None]], None]


class Whoami(Request["Identity"], frozen=True, kw_only=True, tag="test.whoami"):
    deadline_s = 10.0


class Identity(Event, frozen=True, kw_only=True, tag="test.identity"):
    pid: int
    caller: str


class Hang(Request[Ack], frozen=True, kw_only=True, tag="test.link_hang"):
    ready: Descriptor

    deadline_s = 30.0


class Say(Request[Ack], frozen=True, kw_only=True, tag="test.say"):
    word: str

    deadline_s = 5.0


class Said(Event, frozen=True, kw_only=True, tag="test.said"):
    word: str


class Cried(Event, frozen=True, kw_only=True, tag="test.cried"):
    word: str


class Up(Request[Ack], frozen=True, kw_only=True, tag="test.up"):
    deadline_s = 10.0


class Service:
    """What the forked process answers."""

    def __init__(self, node: Node) -> None:
        self.node = node

    @handles(Whoami)
    def whoami(self, call: Whoami) -> Identity:
        return Identity(pid=os.getpid(), caller=current_call().peer)

    @handles(Hang)
    async def hang(self, call: Hang) -> Ack:
        os.write(call.ready.fileno(), b"!")
        await asyncio.Event().wait()
        return Ack()

    @handles(Say)
    def say(self, call: Say) -> Ack:
        self.node.publish(Said(word=call.word))
        self.node.publish(Cried(word=call.word.upper()))
        return Ack()


async def be_a_service(control: socket.socket, name: str) -> None:
    node = Node(control, name)
    node.serve(Service(node))
    await node.control.call(Up())
    await node.control.wait_closed()


class Tree:
    """A root with one inhabitant of its own, "tester", and services that are forked."""

    def __init__(self) -> None:
        self.board = Switchboard()
        self.board.serve(self)
        self.children: set[int] = set()
        self.node = self._node("tester")

    def _node(self, name: str) -> Node:
        ours, theirs = socket.socketpair()
        self.board.attach(ours, name)
        return Node(theirs, name)

    @handles(Up)
    def up(self, call: Up) -> Ack:
        self.board.mark_ready(current_call().peer)
        return Ack()

    def fork(self, name: str) -> int:
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            try:
                ours.close()
                asyncio.run(be_a_service(theirs, name))
            finally:
                os._exit(0)
        theirs.close()
        self.board.attach(ours, name)
        self.children.add(pid)
        return pid

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self.children.discard(pid)


@contextlib.asynccontextmanager
async def tree() -> AsyncIterator[Tree]:
    tree = Tree()
    try:
        yield tree
    finally:
        for pid in list(tree.children):
            tree.kill(pid)
        tree.node.close()
        for name in ("tester", "service"):
            control = tree.board.peer(name)
            if control is not None:
                await asyncio.wait_for(control.wait_closed(), 5)


async def whoami(tree: Tree, deadline_s: float | None = None) -> Identity:
    return await tree.node.link("service").call(Whoami(), deadline_s=deadline_s)


def test_a_service_is_called_by_name_and_sees_the_callers_name(run: Run) -> None:
    async def scenario() -> None:
        async with tree() as tree_:
            pid = tree_.fork("service")
            assert await whoami(tree_) == Identity(pid=pid, caller="tester")

    run(scenario())


def test_a_call_waits_until_the_service_is_ready(run: Run) -> None:
    async def scenario() -> None:
        async with tree() as tree_:
            waiting = asyncio.create_task(whoami(tree_))
            await asyncio.sleep(0)
            pid = tree_.fork("service")
            assert (await waiting).pid == pid

    run(scenario())


def test_a_call_to_a_service_that_never_starts_ends_at_its_deadline(run: Run) -> None:
    async def scenario() -> None:
        async with tree() as tree_:
            with pytest.raises(DeadlineExceeded, match="service"):
                await whoami(tree_, deadline_s=0.05)

    run(scenario())


def test_an_unknown_service_is_refused_at_once(run: Run) -> None:
    async def scenario() -> None:
        async with tree() as tree_:
            tree_.board.expects = lambda name: name == "other"
            with pytest.raises(NoSuchService, match="'service'"):
                await whoami(tree_)

    run(scenario())


def test_waiting_calls_raise_no_such_service_when_a_service_fails_to_start(run: Run) -> None:
    async def scenario() -> None:
        async with tree() as tree_:
            control = tree_.node.control
            waiting = asyncio.create_task(control.call(Connect(service="x")))
            await control.call(Up())  # the root has seen what was sent before
            tree_.board.fail_waiting("x", "it crashed five times")
            with pytest.raises(NoSuchService, match="five times"):
                await waiting

    run(scenario())


def test_a_killed_service_fails_its_calls_and_the_next_call_reaches_its_successor(
    run: Run,
) -> None:
    async def scenario() -> None:
        async with tree() as tree_:
            lost: list[str] = []
            tree_.node.on_peer_lost.append(lost.append)
            first = tree_.fork("service")
            read, write = os.pipe()
            call = Hang(ready=Descriptor(write))
            hung = asyncio.create_task(tree_.node.link("service").call(call))
            assert await asyncio.to_thread(os.read, read, 1) == b"!"
            os.close(read)
            tree_.kill(first)
            with pytest.raises(PeerGone):
                await hung
            assert lost == ["service"]
            waiting = asyncio.create_task(whoami(tree_))
            second = tree_.fork("service")
            assert (await waiting).pid == second

    run(scenario())


def test_a_link_that_broke_while_idle_reconnects_at_the_next_call(run: Run) -> None:
    async def scenario() -> None:
        async with tree() as tree_:
            first = tree_.fork("service")
            await whoami(tree_)
            tree_.kill(first)
            second = tree_.fork("service")  # the loop has not seen the end of the first yet
            assert (await whoami(tree_)).pid == second

    run(scenario())


def test_subscriptions_are_renewed_after_a_restart(run: Run) -> None:
    async def scenario() -> None:
        async with tree() as tree_:
            heard: set[str] = set()
            first = tree_.fork("service")
            tree_.node.subscribe("service", Said, lambda event: heard.add(event.word))
            await hear(tree_, heard, "one")
            tree_.node.subscribe("service", Cried, lambda event: heard.add(event.word))
            await hear(tree_, heard, "TWO")  # the second came on the link that was there
            tree_.kill(first)
            tree_.fork("service")
            await hear(tree_, heard, "three")  # nobody called: the subscription renewed the link
            await hear(tree_, heard, "FOUR")

    run(scenario())


async def hear(tree_: Tree, heard: set[str], word: str) -> None:
    """Have another process make the service say a word until it is heard."""
    other = tree_._node("other")
    while word not in heard:
        await other.link("service").call(Say(word=word.lower()))
    other.close()


def test_a_link_offer_is_accepted_from_the_root_only(run: Run) -> None:
    async def scenario() -> None:
        async with tree() as tree_:
            victim = tree_._node("victim")
            tree_.board.mark_ready("victim")
            ours, theirs = socket.socketpair()
            link = tree_.node.link("victim")
            with pytest.raises(Exception, match=r"test\.whoami"):
                await link.call(Whoami())  # it is linked, and answers nothing
            (peer,) = tree_.node._peers
            peer.send(LinkOffer(peer="domd", descriptor=Descriptor(theirs.detach())))
            assert await asyncio.to_thread(ours.recv, 1) == b""  # closed, not adopted
            ours.close()
            victim.close()

    run(scenario())


def test_a_call_on_a_closed_link_raises_peer_gone(run: Run) -> None:
    async def scenario() -> None:
        async with tree() as tree_:
            tree_.fork("service")
            link = tree_.node.link("service")
            await whoami(tree_)
            lost: list[str] = []
            tree_.node.on_peer_lost.append(lost.append)
            tree_.node.unlink("service")
            with pytest.raises(PeerGone, match="closed"):
                await link.call(Whoami())
            assert lost == []  # we left, it did not go
            assert (await whoami(tree_)).caller == "tester"  # and may come back

    run(scenario())


def test_calls_fail_when_the_root_has_ended(run: Run) -> None:
    async def scenario() -> None:
        async with tree() as tree_:
            waiting = asyncio.create_task(whoami(tree_))
            await asyncio.sleep(0)
            control = tree_.board.peer("tester")
            assert control is not None
            control.close()
            with pytest.raises(PeerGone):
                await waiting

    run(scenario())


def test_a_call_that_is_begun_is_sent_before_anybody_waits_for_it(run: Run) -> None:
    async def scenario() -> None:
        async with tree() as root:
            root.fork("service")
            reached, ready = os.pipe()
            first = root.node.link("service").begin(Hang(ready=Descriptor(os.dup(ready))))
            os.set_blocking(reached, False)
            with pytest.raises(BlockingIOError):  # the service is not up yet: it waits with it
                os.read(reached, 1)
            waiting = asyncio.create_task(first)
            await readable(reached)
            second = root.node.link("service").begin(Hang(ready=Descriptor(os.dup(ready))))
            os.read(reached, 1)
            await readable(reached)  # nobody waits for the second
            calls = (waiting, asyncio.create_task(second))
            await asyncio.sleep(0)
            for call in calls:
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
            os.close(reached)
            os.close(ready)

    run(scenario())


async def readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(fd, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)
