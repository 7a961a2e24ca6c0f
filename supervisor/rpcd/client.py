"""One client from accept to close: what each of its messages leads to (virNetServerClient).

Owns: the client's state, its running calls, its streams.
May touch: its connection; services through the router. May not touch: other clients, files.
Source: protocol/features_9_0.md.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterable
from contextvars import Context, copy_context
from types import CoroutineType
from typing import Final

from ipc import Descriptor, new_trace, trace
from rpc import framing, keepalive
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.framing import Frame, Header, MessageType, Status
from rpc.streams import STREAM_TYPES
from rpc.table import DecodeError, Procedure
from supervisor.access.control import AccessControl
from supervisor.messages.calls import Client, ClientEvent, ClientReply, Identity
from supervisor.rpcd.auth import access
from supervisor.rpcd.auth.authentication import Authentication
from supervisor.rpcd.auth.permissions import connection_questions, opened_driver
from supervisor.rpcd.auth.protection import protect
from supervisor.rpcd.call_queue import CallQueue
from supervisor.rpcd.client_table import ClientTable
from supervisor.rpcd.connection import Connection
from supervisor.rpcd.event_access import EventAccess
from supervisor.rpcd.event_callbacks import EventCallbacks, EventMessage
from supervisor.rpcd.keepalive_timer import KeepaliveTimer
from supervisor.rpcd.programs import Programs
from supervisor.rpcd.reply_cache import cache_key
from supervisor.rpcd.requested_sizes import checks_of
from supervisor.rpcd.router import Router, discard
from supervisor.rpcd.streams.client_streams import ClientStreams
from supervisor.rpcd.transport.connected import close_all
from supervisor.rpcd.transport.transport import Transport
from supervisor.rpcd.uri import ConnectTarget

CALL_TYPES: Final = (int(MessageType.CALL), int(MessageType.CALL_WITH_FDS))  # compared faster
LARGE: Final = 64 * 1024  # bytes of a call from which the budget of all clients is looked at
EVENT_SERIAL: Final = 1  # of every event message: clients match none by it

log = logging.getLogger(__name__)


class ServerClient:
    """A connected client of one server."""

    def __init__(
        self,
        clients: ClientTable,
        programs: Programs,
        router: Router,
        transport: Transport,
        authentication: Authentication,
        number: int,
        *,
        read_only: bool,
    ) -> None:
        """Take the transport over and begin to read."""
        self.target: ConnectTarget | None = None
        self.read_only = read_only
        self.authentication = authentication
        self.is_session_daemon = router.session
        self.close_callback = False
        self.services: set[str] = set()  # processes that its calls went to
        self.callbacks = EventCallbacks()
        self.number = number
        self.identifier = clients.identifier(number)
        self.connected_at = int(time.time())
        self._clients = clients
        self._programs = programs
        self._router = router
        self._connection = Connection(transport, clients.budget)
        self._client: Client | None = None
        self._claimed_identity: Identity | None = None
        self._running = 0
        self._running_bytes = 0  # their arguments
        self._queue = CallQueue()
        self._drain: asyncio.Task[None] | None = None  # waits until the client has read
        self._streams = ClientStreams(self._connection, router.end_stream)
        self._tasks: set[asyncio.Task[None]] = set()
        self._event_access = None if router.access is None else EventAccess(router.may_see, self)
        self._keepalive: KeepaliveTimer | None = None
        self._loop = asyncio.get_running_loop()
        clients.add(self)
        self._connection.start(self._received, self._closed)

    # What connection calls may do with the client that makes them.

    @property
    def identity(self) -> Identity:
        """Who the client is for services: as its transport proved, or as it has said since."""
        return self._claimed_identity or self.authentication.identity

    def claim_identity(self, identity: Identity) -> None:
        """Tell services from now on that the client is somebody else; it gains no right by that."""
        self._claimed_identity, self._client = identity, None

    def start_keepalive(self) -> None:
        """Begin to PING the client when it is silent."""
        limits = self._clients.limits
        if self._keepalive is None and limits.keepalive_interval > 0:
            interval, count = limits.keepalive_interval, limits.keepalive_count
            self._keepalive = KeepaliveTimer(self._connection, interval, count)

    @property
    def name(self) -> str:
        """How log lines call it."""
        return self._connection.name

    @property
    def transport(self) -> Transport:
        """What it came by."""
        return self._connection.transport

    @property
    def running_calls(self) -> int:
        """How many of its calls run."""
        return self._running

    @property
    def waiting_calls(self) -> int:
        """How many of its calls wait for those."""
        return len(self._queue)

    @property
    def is_secure(self) -> bool:
        """Whether nobody on the way can read along (virConnectIsSecure)."""
        return self._connection.transport.is_secure

    def protect_after_reply(self) -> None:
        """Put the connection below its security layer once the reply is sent.

        The client waits for that reply: bytes that it sends before it are refused.
        """
        self._connection.transport.pause_reading()
        self._queue.clear()
        self._loop.call_soon(self._start_task, protect(self._connection, self.authentication))

    def close_after_reply(self) -> None:
        """Close once everything queued, the reply included, is sent."""
        self._loop.call_soon(self._connection.transport.close_when_sent)

    def close(self) -> None:
        """Close the connection now."""
        self._connection.transport.close()

    def deliver(self, event: ClientEvent) -> None:
        """Send an event that the client registered for and that its driver's clients may see."""
        if event.driver and (self.target is None or self.target.driver != event.driver):
            return
        if self._event_access is None:
            self.send_events(self.callbacks.matching(event))
        elif messages := list(self.callbacks.matching(event)):
            self._event_access.offer(self._client_info(), event, messages)

    def send_events(self, messages: Iterable[EventMessage]) -> None:
        """Send the messages of an event, which the client may see."""
        for message in messages:
            procedure = message.procedure
            header = Header(
                procedure.program,
                procedure.version,
                procedure.number,
                MessageType.MESSAGE,
                EVENT_SERIAL,
                Status.OK,
            )
            self._connection.send(framing.encode(header, message.payload))

    def refuse_events(self, reason: str) -> None:
        """Close the connection: it would miss events."""
        self._connection.drop(reason)

    # What comes from the client.

    def _received(self, frame: Frame, descriptors: list[int]) -> None:
        if self._keepalive is not None:
            self._keepalive.received()
        kind = frame.header.type
        if kind in CALL_TYPES:
            self._accept_call(frame, descriptors)
            return
        close_all(descriptors)
        if kind in STREAM_TYPES:
            self._streams.receive(frame)
        elif kind == MessageType.MESSAGE and keepalive.is_ping(frame.header):
            self._connection.send(keepalive.message(keepalive.PONG))

    def _accept_call(self, frame: Frame, descriptors: list[int]) -> None:
        if not self._queue and self._may_call() and self._clients.turns.take():
            self._call(frame, descriptors)
            return
        self._queue.append(frame, descriptors)
        self._wait_turn()
        self._count_calls()
        if self._queue.is_full:
            self._streams.read_pause.hold("calls", on=True)

    def _may_call(self) -> bool:
        """Return whether to begin another call now; if not, what to wait for is under way."""
        if self._connection.transport.is_congested:
            if self._drain is None:
                self._drain = self._loop.create_task(self._wait_drained())
            return False
        return self._running < self._clients.limits.max_client_requests

    async def _wait_drained(self) -> None:
        await self._connection.transport.drained()
        self._drain = None
        self._wait_turn()

    def _wait_turn(self) -> None:
        if self._queue and self._may_call():
            self._clients.turns.wait(self)

    def call_next(self) -> None:
        """Begin a queued call: it is this client's turn."""
        if not self._queue or not self._may_call():
            return
        self._call(*self._queue.pop())
        self._count_calls()
        if self._queue.has_room:
            self._streams.read_pause.hold("calls", on=False)
        self._wait_turn()

    def _count_calls(self) -> None:
        self._connection.count_calls(self._queue.size + self._running_bytes)

    def _call(self, frame: Frame, descriptors: list[int]) -> None:
        header = frame.header
        try:
            procedure, arguments = self._check(header, frame.payload)
            if procedure.owner == "rpcd":
                self._call_local(header, procedure, arguments)
                if descriptors:
                    close_all(descriptors)
                return
            key = cache_key(procedure, frame.payload, self._client_info().driver)
            cached = self._router.cache.get(key)
            if cached is not None:
                if descriptors:
                    close_all(descriptors)
                self._connection.send(framing.encode_reply(header, cached))
                return
        except VirError as error:
            close_all(descriptors)
            self._reply_error(header, error)
            return
        self._running_bytes += len(frame.payload)
        if len(frame.payload) > LARGE:
            self._count_calls()
        context = copy_context()
        reply = context.run(self._send_to_service, procedure, frame.payload, descriptors)
        self._start_task(self._forward(header, procedure, len(frame.payload), reply), context)

    def _start_task(
        self, call: Coroutine[object, object, None], context: Context | None = None
    ) -> None:
        self._running += 1
        task = self._loop.create_task(call, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._call_done)

    def _check(self, header: Header, payload: bytes) -> tuple[Procedure, tuple[object, ...]]:
        """Find the procedure and decode its arguments, or refuse in libvirt's order of checks."""
        procedure = self._programs.procedure(header)
        access.check_authenticated(procedure, authenticated=self.authentication.is_complete)
        try:
            arguments = procedure.decode_args(payload)
        except DecodeError as error:
            log.info("client %s: %s: %s", self._connection.name, procedure.name, error)
            detail = "Unable to decode message payload"
            raise VirError(ErrorCode.RPC, detail, ErrorDomain.RPC) from None
        access.check_open(procedure, arguments, opened=self.target is not None)
        if self.read_only:
            access.check_read_only(procedure, arguments)
        access.check_supported(procedure, self.target.driver if self.target else "")
        for check in checks_of(procedure):
            check(arguments)
        return procedure, arguments

    def _call_local(
        self, header: Header, procedure: Procedure, arguments: tuple[object, ...]
    ) -> None:
        access = self._router.access
        if access is not None and not procedure.before_auth and self._programs.has_access:
            self._start_task(self._call_permitted(access, header, procedure, arguments))
            return
        value = self._programs.local_call(procedure)(self, *arguments)
        if isinstance(value, CoroutineType):
            self._start_task(self._answer_later(header, procedure, value))
        else:
            self._connection.send(framing.encode_reply(header, procedure.encode_ret(value)))

    async def _call_permitted(
        self,
        access: AccessControl,
        header: Header,
        procedure: Procedure,
        arguments: tuple[object, ...],
    ) -> None:
        """Answer a call about the connection if the client may make it."""
        trace.set(new_trace())
        try:
            opened = self.target.driver if self.target is not None else ""
            driver = opened or opened_driver(procedure, arguments, session=self._router.session)
            questions = connection_questions(procedure, arguments, driver)
            await access.require(self._describe(driver), questions)
            value = self._programs.local_call(procedure)(self, *arguments)
            payload = procedure.encode_ret(value)
        except VirError as error:
            self._reply_error(header, error)
            return
        self._connection.send(framing.encode_reply(header, payload))

    async def _answer_later(
        self, header: Header, procedure: Procedure, value: Coroutine[object, object, object]
    ) -> None:
        """Send the reply to an authentication call, for which authd is asked."""
        trace.set(new_trace())
        try:
            payload = procedure.encode_ret(await value)
        except VirError as error:
            log.warning("client %s does not authenticate: %s", self.name, error.message)
            self._reply_error(header, error)
            return
        self._connection.send(framing.encode_reply(header, payload))

    def _send_to_service(
        self, procedure: Procedure, payload: bytes, descriptors: list[int]
    ) -> Coroutine[object, object, ClientReply]:
        """Send a call to the service that answers it; return what waits for the reply."""
        trace.set(new_trace())
        client = self._client_info()
        sent = [Descriptor(fd) for fd in descriptors]
        self.services.add(self._router.process_for(procedure, client.driver))
        return self._router.invoke(procedure, payload, client, sent)

    async def _forward(
        self,
        header: Header,
        procedure: Procedure,
        size: int,
        waiting: Coroutine[object, object, ClientReply],
    ) -> None:
        """Send the client the reply of a service, to a call of so many bytes."""
        try:
            reply = await waiting
        except VirError as error:
            self._reply_error(header, error)
            return
        finally:
            self._running_bytes -= size
            if size > LARGE:
                self._count_calls()
        if self._connection.closed:
            discard(reply)
            return
        if reply.descriptors and not self._connection.transport.passes_descriptors:
            discard(reply)
            detail = "this connection cannot pass file descriptors: use a Unix socket"
            self._reply_error(header, VirError(ErrorCode.NO_SUPPORT, detail, ErrorDomain.RPC))
            return
        fds = [descriptor.take() for descriptor in reply.descriptors]
        self._connection.send(framing.encode_reply(header, reply.payload, len(fds)), fds)
        if reply.stream is not None:
            process = self._router.process_for(procedure, self._client_info().driver)
            self._streams.open(header, reply.stream, process)

    def _client_info(self) -> Client:
        """Describe the connection to services; built once, for it is sent with every call."""
        assert self.target is not None, "access checks refuse other calls before CONNECT_OPEN"
        if self._client is None:
            self._client = self._describe(self.target.driver)
        return self._client

    def _describe(self, driver: str) -> Client:
        return Client(
            id=self.identifier,
            identity=self.identity,
            read_only=self.read_only,
            uri=self.target.uri if self.target is not None else "",
            driver=driver,
            session=self.is_session_daemon,
            proven=self.authentication.identity if self._claimed_identity is not None else None,
        )

    def _call_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._running -= 1
        if not task.cancelled() and (error := task.exception()) is not None:
            name = self._connection.name
            log.error("client %s: a call failed inside rpcd", name, exc_info=error)
            self.close()
        self._wait_turn()

    def _reply_error(self, call: Header, error: VirError) -> None:
        name = self._programs.procedure_name(call)
        log.info("client %s: %s is refused: %s", self._connection.name, name, error)
        self._connection.send(framing.encode_error_reply(call, error.to_wire()))

    def _closed(self) -> None:
        if self._keepalive is not None:
            self._keepalive.stop()
        self._queue.clear()
        self._clients.turns.forget(self)
        if self._drain is not None:
            self._drain.cancel()
        self._streams.close()
        if self._event_access is not None:
            self._event_access.close()
        self.callbacks.clear()
        self._clients.remove(self)
