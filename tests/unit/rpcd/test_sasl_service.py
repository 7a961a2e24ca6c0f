"""rpcd's side of SASL: what it asks authd for, and when."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field

import pytest

from conf.settings import DaemonConfig
from ipc import Request
from rpc.errors import ErrorCode, VirError
from supervisor.messages.authd import (
    ListMechanisms,
    SaslMechanisms,
    SaslPeer,
    SaslReply,
    StartSasl,
    StepSasl,
)
from supervisor.messages.calls import ClientClosed, Identity
from supervisor.rpcd.auth.sasl import SaslAuthentication, SaslService
from supervisor.rpcd.server import SocketPolicy
from supervisor.rpcd.transport.connected import SocketTransport
from tests.unit.rpcd.server_under_test import TestedServer, refuse_all

PEER = SaslPeer(id="1", name="c", is_protected=True)
BARE = SaslPeer(id="2", name="d")


@dataclass
class Authd:
    """A link to an authd that takes every message."""

    asked: list[Request[object]] = field(default_factory=list)
    ssf: int = 0
    before_reply: asyncio.Event | None = None

    async def call(self, request: Request[object]) -> object:
        self.asked.append(request)
        if self.before_reply is not None:
            await self.before_reply.wait()
        if isinstance(request, ListMechanisms):
            return SaslMechanisms(names=["PLAIN", "SCRAM-SHA-256"])
        is_complete = isinstance(request, StepSasl)
        return SaslReply(data=b"", is_complete=is_complete, username="u", ssf=self.ssf)

    def kinds(self) -> list[type[Request[object]]]:
        return [type(request) for request in self.asked]


def with_authd(server: TestedServer, authd: Authd) -> SaslService:
    server.sasl.authd = authd  # type: ignore[assignment]
    return server.sasl


async def test_the_mechanisms_are_asked_for_once_for_clients_that_are_as_protected() -> None:
    server = TestedServer(DaemonConfig(), refuse_all)
    service = with_authd(server, authd := Authd())
    for _ in range(3):
        assert await service.mechanisms(PEER) == ["PLAIN", "SCRAM-SHA-256"]
    await service.mechanisms(BARE)
    service.min_ssf = 256  # the configuration is reloaded
    await service.mechanisms(BARE)
    assert authd.kinds() == [ListMechanisms] * 3
    server.end()


async def test_the_next_authd_is_asked_again() -> None:
    server = TestedServer(DaemonConfig(), refuse_all)
    service = with_authd(server, authd := Authd(before_reply=asyncio.Event()))
    asked = asyncio.create_task(service.mechanisms(PEER))
    while not authd.asked:  # noqa: ASYNC110  (the task's first turn)
        await asyncio.sleep(0)
    for callback in server.node.on_peer_lost:
        callback("authd")  # it ended when its reply was on the way
    assert authd.before_reply is not None
    authd.before_reply.set()
    await asked
    await service.mechanisms(PEER)
    await service.mechanisms(PEER)
    assert authd.kinds() == [ListMechanisms] * 2
    server.end()


async def test_messages_out_of_order_do_not_reach_authd() -> None:
    server = TestedServer(DaemonConfig(), refuse_all)
    service = with_authd(server, authd := Authd())
    client = a_client(service)
    for message in (client.sasl_start("PLAIN", b""), client.sasl_step(b"")):
        with pytest.raises(VirError) as refusal:
            await message
        assert refusal.value.code == ErrorCode.AUTH_FAILED
    await client.sasl_mechanisms()
    with pytest.raises(VirError):
        await client.sasl_step(b"")
    await client.sasl_start("PLAIN", b"")
    await client.sasl_step(b"")
    assert client.is_complete
    for message in (client.sasl_start("PLAIN", b""), client.sasl_step(b"")):
        with pytest.raises(VirError):
            await message
    assert authd.kinds() == [ListMechanisms, StartSasl, StepSasl]
    server.end()


def a_client(service: SaslService) -> SaslAuthentication:
    ours, theirs = socket.socketpair()
    theirs.close()
    transport = SocketTransport(ours, Identity(), "c", is_secure=True)
    made = SaslAuthentication(transport, service, "1")
    transport.close()
    return made


@pytest.mark.parametrize("ssf", [0, 128])
async def test_authd_hears_of_a_client_that_leaves_only_while_it_has_something_of_it(
    ssf: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = TestedServer(DaemonConfig(), refuse_all)
    with_authd(server, Authd(ssf=ssf))
    published: list[tuple[object, ...]] = []
    monkeypatch.setattr(server.node, "publish", lambda *sent: published.append(sent))
    for steps in range(4):
        ours, theirs = socket.socketpair()
        transport = SocketTransport(ours, Identity(), "c", is_secure=True)
        server.accept(transport, SocketPolicy("sasl", read_only=False))
        (client,) = server.clients.clients
        if steps > 0:
            await client.authentication.sasl_mechanisms()
        if steps > 1:
            await client.authentication.sasl_start("PLAIN", b"")
        if steps > 2:
            await client.authentication.sasl_step(b"")
        published.clear()
        transport.close()
        wanted = steps == 2 or (steps == 3 and ssf > 0)
        told = [(ClientClosed(client=client.identifier), {"authd"})]
        assert published == (told if wanted else [])
        theirs.close()
    server.end()
