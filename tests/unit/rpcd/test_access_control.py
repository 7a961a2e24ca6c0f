"""Calls about the connection, and events, under access control."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Final

import pytest

from rpc import table as wire_table
from rpc.access_table import load_access
from rpc.errors import ErrorCode, VirError
from rpc.framing import MessageType, Status
from rpc.table import Procedure
from rpc.values import Domain
from supervisor.access.access_object import CONNECT
from supervisor.access.control import AccessControl
from supervisor.messages.calls import ClientEvent, ClientReply
from supervisor.rpcd.event_access import MAX_WAITING
from supervisor.rpcd.transport.unix import peer_groups, unix_transport
from tests.unit.access.access_under_test import ALICE, Rules, arguments_of, owned
from tests.unit.rpcd.server_under_test import client

OPEN_ONLY: Final = {("connect.getattr", "")}
LOCAL: Final = [
    procedure
    for procedure in owned("rpcd")
    if load_access().of(procedure).object_type == CONNECT and procedure.name != "connect_open"
]


def control(allowed: set[tuple[str, str]] | None) -> AccessControl:
    return AccessControl([Rules(allowed)], session=False)


@pytest.mark.parametrize("procedure", LOCAL, ids=lambda procedure: procedure.name)
async def test_each_call_about_the_connection_needs_its_permission(procedure: Procedure) -> None:
    rules = Rules(set(OPEN_ONLY))
    async with client(access=AccessControl([rules], session=False), identity=ALICE) as peer:
        await peer.open()
        rules.allowed = set()
        message = peer.call(procedure.name, *arguments_of(procedure))
        if procedure.program != wire_table.load().named("connect_open").program:
            message = message[:4] + procedure.program.to_bytes(4, "big") + message[8:]
        await peer.send(message)
        reply = await peer.receive()
    assert reply.header.status == Status.ERROR
    assert b"'QEMU' denied access" in reply.payload


async def test_a_connection_that_may_not_be_opened_stays_closed() -> None:
    async with client(access=control(set()), identity=ALICE) as peer:
        await peer.send(peer.call("connect_open", "qemu:///system", 0))
        assert b"'QEMU' denied access" in (await peer.receive()).payload
        await peer.send(peer.call("connect_get_uri"))
        assert b"connection not open" in (await peer.receive()).payload


async def test_what_is_asked_before_a_connection_is_open_needs_no_permission() -> None:
    async with client(access=control(set()), identity=ALICE) as peer:
        await peer.send(peer.call("connect_supports_feature", 10))
        assert (await peer.receive()).header.status == Status.OK
        await peer.send(peer.call("auth_list"))
        assert (await peer.receive()).header.status == Status.OK


def started(dom: Domain) -> ClientEvent:
    message = wire_table.load().event(wire_table.EventId("domain", 0))
    assert message is not None
    kind = message.compiler.source.structs["domain_event_lifecycle_msg"]
    assert [field.name for field in kind] == ["dom", "event", "detail"]
    payload = message.encode_args((0, (dom, 2, 0)))[4:]
    return ClientEvent(family="domain", event_id=0, driver="qemu", uuid=dom.uuid, payload=payload)


async def test_events_come_in_order_and_only_of_objects_that_the_client_may_see() -> None:
    async with client(access=control(None), identity=ALICE) as peer:
        await peer.open()
        await peer.send(peer.call("connect_domain_event_callback_register_any", 0, None))
        await peer.receive()
        peer.server.router.visible = {"web", "mail"}
        for name in ("web", "secret", "mail"):
            uuid = name.encode().ljust(16, b"-")
            peer.server.clients.deliver(started(Domain(name, uuid, 1)))
        received = [await peer.receive(), await peer.receive()]
    assert [frame.header.type for frame in received] == [MessageType.MESSAGE] * 2
    assert b"web" in received[0].payload
    assert b"mail" in received[1].payload


async def test_a_client_for_which_too_many_events_wait_is_closed() -> None:
    async with client(access=control(None), identity=ALICE) as peer:
        await peer.open()
        await peer.send(peer.call("connect_domain_event_callback_register_any", 0, None))
        await peer.receive()
        for _ in range(MAX_WAITING + 1):
            peer.server.clients.deliver(started(Domain("web", bytes(16), 1)))
        await peer.is_forgotten()


async def test_a_cached_reply_is_no_way_around_the_check() -> None:
    async def refuse(procedure: Procedure, payload: bytes, passed: object) -> ClientReply:
        raise VirError(ErrorCode.ACCESS_DENIED, "'QEMU' denied access")

    async with client(refuse, access=control(None), identity=ALICE) as peer:
        await peer.open()
        await peer.send(peer.call("connect_num_of_domains"))
        assert b"denied access" in (await peer.receive()).payload


async def test_the_kernel_says_which_groups_a_client_has_and_when_it_started() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        assert set(peer_groups(ours)) == set(os.getgroups())
        transport = unix_transport(theirs, with_process=True)
        assert transport.identity.groups == peer_groups(ours)
        assert transport.identity.process_time > 0
        transport.start(lambda data: None, lambda: None)
        transport.close()
        await asyncio.sleep(0)
