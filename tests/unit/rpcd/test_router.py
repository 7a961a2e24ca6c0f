"""The router's cached replies: what drops them, and what is not kept."""

from __future__ import annotations

from collections.abc import Coroutine

import msgspec
import pytest

from ipc import BusError, DeadlineExceeded, PeerGone, QueueFull
from ipc.messages import Event, tag_of
from rpc import table as wire_table
from rpc.enums import DomainEventID
from rpc.errors import ErrorCode, VirError
from rpc.values import Domain
from supervisor.messages.calls import (
    Client,
    ClientEvent,
    ClientReply,
    Identity,
    InvalidateCache,
)
from supervisor.rpcd.reply_cache import cache_key
from supervisor.rpcd.router import Router
from tests.unit.rpcd.server_under_test import client

DEFINED = ClientEvent(family="domain", event_id=0, driver="qemu", uuid=bytes(16), payload=b"")
CLIENT = Client(id="1", identity=Identity(), read_only=False, uri="qemu:///system", driver="qemu")
CHANGES = [("calls.client_event", DEFINED), ("calls.invalidate_cache", InvalidateCache())]


@pytest.mark.parametrize(("tag", "change"), CHANGES)
async def test_a_change_drops_cached_replies_and_those_on_their_way(
    tag: str, change: Event
) -> None:
    key = cache_key(wire_table.load().named("connect_num_of_domains"), b"", "qemu")
    async with client() as peer:
        cache = peer.server.router.cache
        requested = cache.generation
        cache.put(key, b"1", requested)
        assert cache.get(key) == b"1"
        handler = peer.server.node.handlers.find(tag)
        assert handler is not None
        handler.run(change)
        assert cache.get(key) is None
        cache.put(key, b"1", requested)
        assert cache.get(key) is None, "it was requested before the change"


async def test_a_reply_about_the_host_outlives_a_guests_changes() -> None:
    procedure = wire_table.load().named("node_get_cpu_map")
    arguments = procedure.encode_args((1, 1, 0))
    answer = procedure.encode_ret((b"\3", 2, 2))
    async with client() as peer:  # no service is expected to be asked
        await peer.open()
        router = peer.server.router
        reply = ClientReply(payload=answer, cacheable=True, of_host=True)
        router.keep(procedure, arguments, "qemu", reply, router.cache.generation)
        for tag, change in CHANGES:
            handler = peer.server.node.handlers.find(tag)
            assert handler is not None
            handler.run(change)
        await peer.send(peer.call("node_get_cpu_map", 1, 1, 0))
        assert (await peer.receive()).payload == answer
        handler = peer.server.node.handlers.find("calls.invalidate_cache")
        assert handler is not None
        handler.run(InvalidateCache(of_host=True))
        assert router.cache.get(cache_key(procedure, arguments, "qemu")) is None


async def test_a_reply_about_the_state_outlives_changes_of_limits() -> None:
    procedure = wire_table.load().named("domain_get_scheduler_type")
    arguments = procedure.encode_args((Domain("a", bytes(16), 1),))
    reply = ClientReply(payload=procedure.encode_ret(("posix", 9)), cacheable=True, of_state=True)
    tunable = msgspec.structs.replace(DEFINED, event_id=DomainEventID.TUNABLE)
    async with client() as peer:
        router = peer.server.router
        key = cache_key(procedure, arguments, "qemu")
        for change, is_kept in (
            (tunable, True),
            (InvalidateCache(settings=True), True),
            (DEFINED, False),
            (InvalidateCache(), False),
        ):
            router.keep(procedure, arguments, "qemu", reply, router.cache.generation)
            handler = peer.server.node.handlers.find(tag_of(type(change)))
            assert handler is not None
            handler.run(change)
            assert (router.cache.get(key) is not None) == is_kept


async def test_what_was_read_ahead_is_answered_without_asking_its_service() -> None:
    procedure = wire_table.load().named("domain_get_xml_desc")
    one, two = (procedure.encode_args((Domain(name, bytes(16), -1), 0)) for name in ("a", "b"))
    xml = procedure.encode_ret("<domain/>")
    async with client() as peer:  # no service is expected to be asked
        await peer.open()
        router = peer.server.router
        reply = ClientReply(payload=xml, cacheable=True, readahead=[(two, xml)])
        router.keep(procedure, one, "qemu", reply, router.cache.generation)
        await peer.send(peer.call("domain_get_xml_desc", Domain("b", bytes(16), -1), 0))
        assert (await peer.receive()).payload == xml


class FakeLink:
    """A link to a service that answers, or fails, as it is told."""

    def __init__(self, *answers: ClientReply | BusError) -> None:
        self.sent = 0
        self._answers = list(answers)

    async def _answer(self) -> ClientReply:
        answer = self._answers.pop(0)
        if isinstance(answer, BusError):
            raise answer
        return answer

    def begin(self, request: object, deadline_s: float | None) -> Coroutine[None, None, object]:
        self.sent += 1
        first = self._answers[0]
        if isinstance(first, QueueFull):
            raise first
        return self._answer()

    async def call(self, request: object, *, deadline_s: float | None) -> object:
        return await self.begin(request, deadline_s)


ANSWER = ClientReply(payload=b"1")
QUERY, CHANGE = "connect_num_of_domains", "storage_vol_delete"


@pytest.mark.parametrize(
    ("name", "answers", "code", "sent"),
    [
        (QUERY, (ANSWER,), None, 1),
        (QUERY, (PeerGone("lost"), ANSWER), None, 2),
        (CHANGE, (PeerGone("lost"), ANSWER), ErrorCode.RPC, 1),
        (CHANGE, (QueueFull("full"), ANSWER), ErrorCode.RPC, 1),
        (CHANGE, (DeadlineExceeded("late"), ANSWER), ErrorCode.OPERATION_TIMEOUT, 1),
    ],
)
async def test_a_call_is_sent_at_once_and_only_a_query_is_repeated(
    name: str, answers: tuple[ClientReply | BusError, ...], code: ErrorCode | None, sent: int
) -> None:
    procedure = wire_table.load().named(name)
    async with client() as peer:
        router = peer.server.router
        link = FakeLink(*answers)
        router._links = dict.fromkeys(router._links, link)  # type: ignore[arg-type]
        waiting = Router.invoke(router, procedure, b"", CLIENT, [])
        assert link.sent == 1, "before anybody waits for the reply"
        if code is None:
            assert await waiting == ANSWER
        else:
            with pytest.raises(VirError) as refused:
                await waiting
            assert refused.value.code is code
        assert link.sent == sent
