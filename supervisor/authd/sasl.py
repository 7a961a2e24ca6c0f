"""SASL conversations of rpcd's clients.

Owns: the conversations under way, their number and age; who of those that succeed is allowed.
May touch: libsasl2 in threads, for it may ask databases and KDCs.
May not touch: what clients send after their authentication, but for the layer's copying.
Source: libvirt 9.0, remoteDispatchAuthSasl*; virnetsaslcontext.c.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from conf.settings import DaemonConfig
from conf.types.glob import matches_any
from ipc import Descriptor, handles
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.authd.cyrus import ConnectionFacts, SaslConnection, SaslError, Step
from supervisor.authd.layer import LayerCopy
from supervisor.messages.authd import (
    ListMechanisms,
    OpenSaslLayer,
    SaslLayer,
    SaslMechanisms,
    SaslPeer,
    SaslReply,
    StartSasl,
    StepSasl,
)
from supervisor.messages.calls import ClientClosed

MAX_CONVERSATIONS: Final = 256  # far above max_anonymous_clients
CONVERSATION_S: Final = 60.0  # for the whole of one
THREADS: Final = 16  # each may wait for a database or a KDC
#: libsasl2 with OpenSSL 3 loses 7.7 KiB with each layer of DIGEST-MD5: the cipher that it fetches
#: is never freed. After so many, 31 MiB, the process is renewed as soon as it has no client.
MAX_LAYERS: Final = 4096
#: Where Cyrus looks for libvirt.conf, for a daemon under another root.
CONFIG_FOLDER: Final = "etc/sasl2"

T = TypeVar("T")
#: What a thread returns: the answer, and of a complete conversation the name and the SSF.
Turn = tuple[Step, str, int]
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Conversation:
    """One client's."""

    name: str
    is_protected: bool
    deadline: asyncio.TimerHandle
    connection: SaslConnection | None = None  # made by the first turn in a thread
    turn: asyncio.Future[Turn] | None = None  # of a thread, which is in the connection
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # one message after the other
    is_complete: bool = False

    def close(self) -> None:
        """Free its connection, as soon as no thread is in it."""
        if self.turn is not None and not self.turn.done():
            self.turn.add_done_callback(self._turn_ended)
        elif self.connection is not None:
            self.connection.close()

    def _turn_ended(self, turn: asyncio.Future[Turn]) -> None:
        turn.exception()  # nobody waits for it any more
        self.close()


class SaslCalls:
    """Handles rpcd's requests."""

    def __init__(self, config: Callable[[], DaemonConfig], root: Path) -> None:
        """Make the handlers.

        Args:
            config: returns libvirtd.conf, which can be reloaded.
            root: of the daemon's files.
        """
        self._config = config
        self._conversations: dict[str, Conversation] = {}
        self._layers: set[LayerCopy] = set()
        self._layers_made = 0
        self.on_worn_out: Callable[[], None] = _ignore
        self._threads = ThreadPoolExecutor(THREADS, "sasl")
        if root != Path("/"):
            os.environ["SASL_CONF_PATH"] = str(root / CONFIG_FOLDER)

    @handles(ListMechanisms)
    async def list_mechanisms(self, request: ListMechanisms) -> SaslMechanisms:
        """List the mechanisms that are strong enough.

        Raises:
            VirError: AUTH_FAILED.
        """
        facts = _facts(request.peer, request.min_ssf)
        try:
            names = await self._in_thread(partial(_mechanisms, facts))
        except SaslError as error:
            raise refused(request.peer.name, error) from None
        return SaslMechanisms(names=names)

    @handles(StartSasl)
    async def start(self, request: StartSasl) -> SaslReply:
        """Begin a conversation with the client's choice of a mechanism.

        Raises:
            VirError: AUTH_FAILED.
        """
        peer = request.peer
        self._forget(peer.id)
        if len(self._conversations) >= MAX_CONVERSATIONS:
            raise refused(peer.name, "too many clients authenticate at a time")
        timer = asyncio.get_running_loop().call_later(CONVERSATION_S, self._too_slow, peer.id)
        conversation = Conversation(peer.name, peer.is_protected, timer)
        self._conversations[peer.id] = conversation
        facts = _facts(peer, self._config().tcp_min_ssf)

        def start() -> tuple[SaslConnection, Step]:
            connection = conversation.connection = SaslConnection(facts)
            return connection, connection.start(request.mechanism, request.data)

        return await self._advance(peer.id, conversation, start)

    @handles(StepSasl)
    async def step(self, request: StepSasl) -> SaslReply:
        """Take a further message of the client.

        Raises:
            VirError: AUTH_FAILED.
        """
        conversation = self._conversations.get(request.id)
        connection = conversation.connection if conversation is not None else None
        if conversation is None or connection is None or conversation.is_complete:
            raise refused("a client", "it has not begun an authentication")

        def step() -> tuple[SaslConnection, Step]:
            return connection, connection.step(request.data)

        return await self._advance(request.id, conversation, step)

    @handles(OpenSaslLayer)
    async def open_layer(self, request: OpenSaslLayer) -> SaslLayer:
        """Copy between a client and rpcd through the security layer.

        Raises:
            VirError: INTERNAL_ERROR.
        """
        conversation = self._conversations.pop(request.id, None)
        layer = conversation.connection if conversation is not None else None
        if conversation is None or layer is None or not conversation.is_complete:
            request.client.close()
            raise VirError(ErrorCode.INTERNAL_ERROR, "there is no complete SASL conversation")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        client = socket.socket(fileno=request.client.take())
        copy = LayerCopy(conversation.name, layer, client, ours)
        self._layers.add(copy)
        copy.on_end = lambda: self._layer_ended(copy)
        copy.start()
        return SaslLayer(plain=Descriptor(theirs.detach()))

    def client_closed(self, event: ClientClosed) -> None:
        """Forget the conversation of a client that is gone."""
        self._forget(event.client)

    def client_process_lost(self, name: str) -> None:
        """Forget every conversation: rpcd, which had the clients, has ended."""
        if name == "rpcd":
            for identifier in list(self._conversations):
                self._forget(identifier)

    def close(self) -> None:
        """End everything."""
        self.client_process_lost("rpcd")
        for copy in list(self._layers):
            copy.close()
        self._threads.shutdown(wait=False)

    async def _advance(
        self,
        identifier: str,
        conversation: Conversation,
        ask: Callable[[], tuple[SaslConnection, Step]],
    ) -> SaslReply:
        def advance() -> Turn:
            connection, step = ask()
            if not step.is_complete:
                return step, "", 0
            return step, connection.username(), connection.ssf()

        # One turn of a thread for each message: the way there and back costs more than most do.
        step, name, ssf = await self._ask(identifier, conversation, advance)
        if not step.is_complete:
            return SaslReply(data=step.data)
        reason = self._reason_to_refuse(conversation, name, ssf)
        if reason:
            self._forget(identifier)
            raise refused(conversation.name, reason)
        conversation.deadline.cancel()
        conversation.is_complete = True
        log.info("client %s is '%s' by SASL", conversation.name, name)
        self._layers_made += bool(ssf)
        if conversation.is_protected or not ssf:
            ssf = 0
            self._forget(identifier)
        return SaslReply(data=step.data, is_complete=True, username=name, ssf=ssf)

    def _reason_to_refuse(self, conversation: Conversation, name: str, ssf: int) -> str:
        config = self._config()
        if not conversation.is_protected and ssf < config.tcp_min_ssf:
            return (
                f"negotiated SSF {ssf} was not strong enough (tcp_min_ssf is {config.tcp_min_ssf})"
            )
        allowed = config.sasl_allowed_username_list
        if allowed and not matches_any(name, allowed):
            return f"the user '{name}' is not in sasl_allowed_username_list"
        return ""

    async def _ask(
        self, identifier: str, conversation: Conversation, ask: Callable[[], Turn]
    ) -> Turn:
        """Ask libsasl2 in a thread; a refusal ends the conversation.

        Raises:
            VirError: AUTH_FAILED.
        """
        async with conversation.lock:
            if self._conversations.get(identifier) is not conversation:
                raise refused(conversation.name, "its conversation has ended")
            turn = conversation.turn = self._in_thread(ask)
            try:
                return await asyncio.shield(turn)
            except SaslError as error:
                reason = error
            except asyncio.CancelledError:  # its deadline: the thread may be in it for long
                self._forget(identifier)
                raise
        self._forget(identifier)
        raise refused(conversation.name, reason)

    def _in_thread(self, ask: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, ask)

    def _too_slow(self, identifier: str) -> None:
        conversation = self._conversations.get(identifier)
        if conversation is not None:
            log.warning(
                "client %s has not authenticated in %.0f s", conversation.name, CONVERSATION_S
            )
            self._forget(identifier)

    def _forget(self, identifier: str) -> None:
        conversation = self._conversations.pop(identifier, None)
        if conversation is None:
            return
        conversation.deadline.cancel()
        conversation.close()
        self._check_wear()

    def _layer_ended(self, copy: LayerCopy) -> None:
        self._layers.discard(copy)
        self._check_wear()

    def _check_wear(self) -> None:
        if self._layers_made >= MAX_LAYERS and not self._layers and not self._conversations:
            self.on_worn_out()


def _ignore() -> None:
    """Do nothing; the default of `on_worn_out`."""


def _facts(peer: SaslPeer, min_ssf: int) -> ConnectionFacts:
    return ConnectionFacts(
        local=peer.local,
        remote=peer.remote,
        is_protected=peer.is_protected,
        external_ssf=peer.external_ssf,
        external_name=peer.external_name,
        min_ssf=min_ssf,
    )


def _mechanisms(facts: ConnectionFacts) -> list[str]:
    """List the mechanisms that a connection may use.

    Raises:
        SaslError: libsasl2 refuses, or no mechanism is strong enough.
    """
    connection = SaslConnection(facts)
    try:
        return connection.mechanisms()
    finally:
        connection.close()


def refused(name: str, reason: object) -> VirError:
    """AUTH_FAILED: the log says why, the client is not told."""
    log.warning("client %s is refused: SASL: %s", name, reason)
    return VirError(ErrorCode.AUTH_FAILED, "authentication failed", ErrorDomain.RPC)
