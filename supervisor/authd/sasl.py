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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from conf.settings import DaemonConfig
from conf.types.glob import matches_any
from ipc import Descriptor, handles
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.authd.cyrus import ConnectionFacts, SaslConnection, SaslError, Step
from supervisor.authd.layer import LayerCopy
from supervisor.messages.authd import (
    BeginSasl,
    OpenSaslLayer,
    SaslLayer,
    SaslMechanisms,
    SaslReply,
    StartSasl,
    StepSasl,
)
from supervisor.messages.calls import ClientClosed

MAX_CONVERSATIONS: Final = 256  # far above max_anonymous_clients
CONVERSATION_S: Final = 60.0  # for the whole of one
#: Where Cyrus looks for libvirt.conf, for a daemon under another root.
CONFIG_FOLDER: Final = "etc/sasl2"

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Conversation:
    """One client's."""

    name: str
    is_protected: bool
    connection: SaslConnection
    deadline: asyncio.TimerHandle
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    is_complete: bool = False


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
        self._closing: set[asyncio.Future[None]] = set()  # connections that a thread is in
        if root != Path("/"):
            os.environ["SASL_CONF_PATH"] = str(root / CONFIG_FOLDER)

    @handles(BeginSasl)
    async def begin(self, request: BeginSasl) -> SaslMechanisms:
        """Begin a conversation and list the mechanisms that are strong enough.

        Raises:
            VirError: AUTH_FAILED.
        """
        peer = request.peer
        self._forget(peer.id)
        if len(self._conversations) >= MAX_CONVERSATIONS:
            raise refused(peer.name, "too many clients authenticate at a time")
        facts = ConnectionFacts(
            local=peer.local,
            remote=peer.remote,
            is_protected=peer.is_protected,
            external_ssf=peer.external_ssf,
            external_name=peer.external_name,
            min_ssf=self._config().tcp_min_ssf,
        )
        try:
            connection, names = await asyncio.to_thread(_begin, facts)
        except SaslError as error:
            raise refused(peer.name, error) from None
        self._forget(peer.id)  # one that the client began meanwhile
        timer = asyncio.get_running_loop().call_later(CONVERSATION_S, self._too_slow, peer.id)
        conversation = Conversation(peer.name, peer.is_protected, connection, timer)
        self._conversations[peer.id] = conversation
        return SaslMechanisms(names=names)

    @handles(StartSasl)
    async def start(self, request: StartSasl) -> SaslReply:
        """Take the client's choice of a mechanism.

        Raises:
            VirError: AUTH_FAILED.
        """
        conversation = self._conversation(request.id)

        def start() -> Step:
            return conversation.connection.start(request.mechanism, request.data)

        return await self._advance(request.id, conversation, start)

    @handles(StepSasl)
    async def step(self, request: StepSasl) -> SaslReply:
        """Take a further message of the client.

        Raises:
            VirError: AUTH_FAILED.
        """
        conversation = self._conversation(request.id)

        def step() -> Step:
            return conversation.connection.step(request.data)

        return await self._advance(request.id, conversation, step)

    @handles(OpenSaslLayer)
    async def open_layer(self, request: OpenSaslLayer) -> SaslLayer:
        """Copy between a client and rpcd through the security layer.

        Raises:
            VirError: INTERNAL_ERROR.
        """
        conversation = self._conversations.pop(request.id, None)
        if conversation is None or not conversation.is_complete:
            request.client.close()
            raise VirError(ErrorCode.INTERNAL_ERROR, "there is no complete SASL conversation")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        client = socket.socket(fileno=request.client.take())
        copy = LayerCopy(conversation.name, conversation.connection, client, ours)
        self._layers.add(copy)
        copy.on_end = lambda: self._layers.discard(copy)
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

    def _conversation(self, identifier: str) -> Conversation:
        conversation = self._conversations.get(identifier)
        if conversation is None or conversation.is_complete:
            raise refused("a client", "it has not begun an authentication")
        return conversation

    async def _advance(
        self, identifier: str, conversation: Conversation, ask: Callable[[], Step]
    ) -> SaslReply:
        connection = conversation.connection

        def advance() -> tuple[Step, str, int]:
            step = ask()
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

    async def _ask(self, identifier: str, conversation: Conversation, ask: Callable[[], T]) -> T:
        """Ask libsasl2 in a thread; a refusal ends the conversation.

        Raises:
            VirError: AUTH_FAILED.
        """
        async with conversation.lock:
            if self._conversations.get(identifier) is not conversation:
                raise refused(conversation.name, "its conversation has ended")
            try:
                return await asyncio.to_thread(ask)
            except SaslError as error:
                reason = error
        self._forget(identifier)
        raise refused(conversation.name, reason)

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
        if conversation.lock.locked():
            # A thread is in it: freed when that has returned.
            task = asyncio.ensure_future(_close_later(conversation))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        else:
            conversation.connection.close()


def _begin(facts: ConnectionFacts) -> tuple[SaslConnection, list[str]]:
    """Begin a conversation, and list its mechanisms.

    Raises:
        SaslError: libsasl2 refuses, or no mechanism is strong enough.
    """
    connection = SaslConnection(facts)
    try:
        return connection, connection.mechanisms()
    except SaslError:
        connection.close()
        raise


async def _close_later(conversation: Conversation) -> None:
    async with conversation.lock:
        conversation.connection.close()


def refused(name: str, reason: object) -> VirError:
    """AUTH_FAILED: the log says why, the client is not told."""
    log.warning("client %s is refused: SASL: %s", name, reason)
    return VirError(ErrorCode.AUTH_FAILED, "authentication failed", ErrorDomain.RPC)
