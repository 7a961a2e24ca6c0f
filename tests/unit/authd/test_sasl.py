"""SASL conversations with Cyrus's server side: who gets in, who does not, and why."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from conf.settings import DaemonConfig
from ipc import Descriptor
from rpc.errors import ErrorCode, VirError
from supervisor.authd import sasl as sasl_module
from supervisor.authd.cyrus import SaslConnection, SaslError, Step
from supervisor.authd.layer import LayerCopy
from supervisor.authd.sasl import SaslCalls
from supervisor.messages.authd import (
    ListMechanisms,
    OpenSaslLayer,
    SaslPeer,
    SaslReply,
    StartSasl,
    StepSasl,
)
from supervisor.messages.calls import ClientClosed
from tests.unit.authd.sasl_client import RightClient, Scram, needs_sasl, plain

DEADLINE_S = 20.0
TLS = SaslPeer(id="1", name="c", is_protected=True, external_ssf=256)
TCP = SaslPeer(id="1", name="c", local="127.0.0.1;1", remote="127.0.0.1;2")

pytestmark = needs_sasl


@asynccontextmanager
async def calls(users: Path, config: DaemonConfig | None = None) -> AsyncIterator[SaslCalls]:
    former = os.environ.get("SASL_CONF_PATH")
    handlers = SaslCalls(lambda: config or DaemonConfig(), users)
    try:
        yield handlers
    finally:
        handlers.close()
        if former is not None:
            os.environ["SASL_CONF_PATH"] = former


async def begun(handlers: SaslCalls, peer: SaslPeer = TLS) -> bytes:
    """Begin a conversation; the message with which it would succeed."""
    client = Scram("alice", "secret")
    start = StartSasl(peer=peer, mechanism="SCRAM-SHA-256", data=client.first())
    challenge = await handlers.start(start)
    assert challenge.data is not None
    return client.final(challenge.data)


async def scram(handlers: SaslCalls, user: str, password: str, peer: SaslPeer = TLS) -> SaslReply:
    client = Scram(user, password)
    start = StartSasl(peer=peer, mechanism="SCRAM-SHA-256", data=client.first())
    challenge = await handlers.start(start)
    assert challenge.data is not None
    return await handlers.step(StepSasl(id=peer.id, data=client.final(challenge.data)))


async def test_a_user_with_the_right_password_is_known_by_name(users: Path) -> None:
    async with calls(users) as handlers:
        reply = await scram(handlers, "alice", "secret")
    assert (reply.is_complete, reply.ssf) == (True, 0)
    assert reply.username.partition("@")[0] == "alice"
    assert reply.data is not None
    assert reply.data.startswith(b"v=")


@pytest.mark.parametrize(("user", "password"), [("alice", "wrong"), ("nobody", "secret")])
async def test_a_wrong_password_is_refused_without_a_reason(
    users: Path, user: str, password: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with calls(users) as handlers:
        with pytest.raises(VirError) as refusal:
            await scram(handlers, user, password)
        with pytest.raises(VirError):  # the conversation has ended
            await handlers.step(StepSasl(id="1", data=b""))
    assert refusal.value.code == ErrorCode.AUTH_FAILED
    assert refusal.value.message == "authentication failed: authentication failed"
    assert "client c is refused: SASL: " in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("allowed", "enters"), [(["alice*"], True), (["b?b"], False), (["[a]lice*"], False)]
)
async def test_the_list_of_allowed_users_is_matched_as_globs(
    users: Path, allowed: list[str], enters: bool, caplog: pytest.LogCaptureFixture
) -> None:
    config = DaemonConfig(sasl_allowed_username_list=allowed)
    async with calls(users, config) as handlers:
        if enters:
            assert (await scram(handlers, "alice", "secret")).is_complete
            return
        with pytest.raises(VirError):
            await scram(handlers, "alice", "secret")
    assert "not in sasl_allowed_username_list" in caplog.text


async def test_mechanisms_without_a_layer_are_not_offered_on_plain_tcp(users: Path) -> None:
    async with calls(users) as handlers:
        protected = await handlers.list_mechanisms(ListMechanisms(peer=TLS, min_ssf=112))
        bare = await handlers.list_mechanisms(ListMechanisms(peer=TCP, min_ssf=112))
    assert {"SCRAM-SHA-256", "PLAIN", "DIGEST-MD5"} <= set(protected.names)
    assert bare.names == ["DIGEST-MD5"]


async def test_a_client_is_refused_where_no_mechanism_is_strong_enough(
    users: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with calls(users) as handlers:
        with pytest.raises(VirError) as refusal:
            await handlers.list_mechanisms(ListMechanisms(peer=TCP, min_ssf=256))
    assert refusal.value.code == ErrorCode.AUTH_FAILED
    assert "client c is refused: SASL: no mechanism that is set up is strong enough" in caplog.text


async def test_a_password_in_plain_text_is_taken_over_tls_alone(users: Path) -> None:
    async with calls(users) as handlers:
        data = plain("alice", "secret")
        start = StartSasl(peer=TLS, mechanism="PLAIN", data=data)
        assert (await handlers.start(start)).is_complete
        with pytest.raises(VirError):
            await handlers.start(StartSasl(peer=TCP, mechanism="PLAIN", data=data))


@pytest.mark.parametrize("data", [None, b"", b"\0", b"n,,n=" + b"a" * 60000, bytes(range(256))])
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "PLAIN", "DIGEST-MD5", "", "X" * 4000])
async def test_hostile_messages_are_refused_or_go_on(
    users: Path, mechanism: str, data: bytes | None
) -> None:
    async with calls(users) as handlers:
        replies: list[SaslReply] = []
        with contextlib.suppress(VirError):
            replies.append(
                await handlers.start(StartSasl(peer=TLS, mechanism=mechanism, data=data))
            )
            replies.append(await handlers.step(StepSasl(id="1", data=data)))
        assert not any(reply.is_complete for reply in replies)


async def test_a_conversation_ends_with_its_client(users: Path) -> None:
    async with calls(users) as handlers:
        client = await begun(handlers)
        handlers.client_closed(ClientClosed(client="1"))
        with pytest.raises(VirError):
            await handlers.step(StepSasl(id="1", data=client))


async def test_a_connection_is_freed_when_its_thread_has_returned(
    users: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_in_thread, may_return, order = threading.Event(), threading.Event(), list[str]()
    start, close = SaslConnection.start, SaslConnection.close

    def slow_start(connection: SaslConnection, mechanism: str, data: bytes | None) -> Step:
        is_in_thread.set()
        may_return.wait(DEADLINE_S)
        order.append("returned")
        return start(connection, mechanism, data)

    def noted_close(connection: SaslConnection) -> None:
        order.append("closed")
        close(connection)

    monkeypatch.setattr(SaslConnection, "start", slow_start)
    monkeypatch.setattr(SaslConnection, "close", noted_close)
    async with calls(users) as handlers:
        request = StartSasl(peer=TLS, mechanism="PLAIN", data=plain("alice", "secret"))
        task = asyncio.create_task(handlers.start(request))
        await asyncio.to_thread(is_in_thread.wait, DEADLINE_S)
        task.cancel()  # as at its deadline: a database does not answer
        with pytest.raises(asyncio.CancelledError):
            await task
        handlers.client_closed(ClientClosed(client="1"))
        assert order == []
        may_return.set()
        async with asyncio.timeout(DEADLINE_S):
            while "closed" not in order:  # noqa: ASYNC110  (the loop's callback)
                await asyncio.sleep(0)
    assert order == ["returned", "closed"]


async def test_a_slow_conversation_is_forgotten(
    users: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sasl_module, "CONVERSATION_S", 0.0)
    async with calls(users) as handlers:
        await begun(handlers)
        async with asyncio.timeout(DEADLINE_S):
            while "has not authenticated" not in caplog.text:  # noqa: ASYNC110  (the loop's timer)
                await asyncio.sleep(0)


async def test_there_is_a_limit_to_conversations(
    users: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sasl_module, "MAX_CONVERSATIONS", 1)
    async with calls(users) as handlers:
        await begun(handlers)
        with pytest.raises(VirError):
            await begun(handlers, SaslPeer(id="2", name="d", is_protected=True))
        await begun(handlers)  # the client's own ends with the next


async def test_authd_is_renewed_after_many_layers_once_it_has_no_client(
    users: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sasl_module, "MAX_LAYERS", 2)
    worn = asyncio.Event()
    async with asyncio.timeout(DEADLINE_S), calls(users) as handlers:
        handlers.on_worn_out = worn.set
        first = await layer_opened(handlers, "1")
        second = await layer_opened(handlers, "2")
        await closed(first)
        assert not worn.is_set()  # it has a client still
        await closed(second)
        await worn.wait()


async def layer_opened(handlers: SaslCalls, client: str) -> tuple[socket.socket, socket.socket]:
    """Authenticate a client by DIGEST-MD5; both ends of its layer, the plain one last."""
    peer = SaslPeer(id=client, name="c", local="127.0.0.1;1", remote="127.0.0.1;2")
    user = RightClient("DIGEST-MD5", "alice", "secret")
    start = StartSasl(peer=peer, mechanism="DIGEST-MD5", data=user.message(b"") or None)
    challenge = await handlers.start(start)
    answer = user.message(challenge.data or b"")
    assert (await handlers.step(StepSasl(id=client, data=answer))).ssf == 128
    ours, theirs = socket.socketpair()
    request = OpenSaslLayer(id=client, client=Descriptor(theirs.detach()))
    plain_end = socket.socket(fileno=(await handlers.open_layer(request)).plain.take())
    for end in (ours, plain_end):
        end.settimeout(0)
    return ours, plain_end


async def closed(ends: tuple[socket.socket, socket.socket]) -> None:
    """Close a client's connection, and wait until its layer has ended."""
    client, plain_end = ends
    client.close()
    assert await asyncio.get_running_loop().sock_recv(plain_end, 1) == b""
    plain_end.close()


async def test_no_layer_without_a_complete_conversation(users: Path) -> None:
    async with calls(users) as handlers:
        start = StartSasl(peer=TCP, mechanism="DIGEST-MD5", data=None)
        assert not (await handlers.start(start)).is_complete
        ours, theirs = socket.socketpair()
        request = OpenSaslLayer(id="1", client=Descriptor(theirs.detach()))
        with pytest.raises(VirError):
            await handlers.open_layer(request)
        assert ours.recv(1) == b""
        ours.close()


class ReversingLayer(SaslConnection):
    """A layer whose effect the test can see."""

    def __init__(self, *, broken: bool = False) -> None:
        self.broken, self.closed = broken, False

    def max_encoded(self) -> int:
        return 8

    def encode(self, data: bytes) -> bytes:
        return data[::-1]

    def decode(self, data: bytes) -> bytes:
        if self.broken:
            raise SaslError("it was changed on the way")
        return data[::-1]

    def close(self) -> None:
        self.closed = True


@asynccontextmanager
async def layered(
    layer: ReversingLayer,
) -> AsyncIterator[tuple[socket.socket, socket.socket, asyncio.Event]]:
    (client, theirs), (plain_end, ours) = socket.socketpair(), socket.socketpair()
    copy, ended = LayerCopy("c", layer, theirs, ours), asyncio.Event()
    copy.on_end = ended.set
    copy.start()
    for end in (client, plain_end):
        end.settimeout(0)
    try:
        yield client, plain_end, ended
    finally:
        copy.close()
        client.close()
        plain_end.close()


async def test_bytes_pass_a_layer_in_both_directions_and_its_end_is_both_ends() -> None:
    layer = ReversingLayer()
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(DEADLINE_S), layered(layer) as (client, plain_end, ended):
        await loop.sock_sendall(client, b"abc")
        assert await loop.sock_recv(plain_end, 99) == b"cba"
        await loop.sock_sendall(plain_end, b"12345678AB")  # more than the layer takes at once
        received = b""
        while len(received) < 10:
            received += await loop.sock_recv(client, 99)
        assert received == b"87654321BA"
        plain_end.close()
        await ended.wait()
        assert await loop.sock_recv(client, 1) == b""
    assert layer.closed


async def test_bytes_that_the_layer_refuses_close_the_client(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    loop = asyncio.get_running_loop()
    async with (
        asyncio.timeout(DEADLINE_S),
        layered(ReversingLayer(broken=True)) as (client, _, ended),
    ):
        await loop.sock_sendall(client, b"abc")
        await ended.wait()
    assert "changed on the way" in caplog.text
