"""One client from accept to close: what each of its messages leads to.

Owns: the client's state, its calls under way, its streams.
May touch: its channel; services through `Router.links`. May not touch: other sessions, files.
Source: protocol/features_9_0.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from typing import Final

from ipc import Descriptor, new_trace, trace
from rpc import framing
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.framing import Frame, Header, MessageType, Status
from rpc.table import DecodeError, Procedure
from supervisor.messages.calls import Client, ClientEvent
from supervisor.rpcd.auth import access
from supervisor.rpcd.event_callbacks import EventCallbacks
from supervisor.rpcd.keepalive import Keepalive, Verdict
from supervisor.rpcd.router import Router, cache_key, discard
from supervisor.rpcd.streams.client_streams import ClientStreams
from supervisor.rpcd.transport.unix import UnixTransport, close_all
from supervisor.rpcd.uri import ConnectTarget

KEEPALIVE: Final = 0x6B656570
PING: Final = 1
PONG: Final = 2
PINGED: Final = (KEEPALIVE, PING)  # program and procedure
EVENT_SERIAL: Final = 1
MAX_QUEUED: Final = 1024 * 1024  # bytes of calls beyond those under way, from which reading stops
QUEUED_CALL: Final = 512  # bytes that a waiting call takes besides its payload
QUEUED_DESCRIPTOR: Final = 16 * 1024  # and for each descriptor: there are few for all clients

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who is at the other end, as the kernel says."""

    uid: int
    gid: int
    pid: int


class ServerClient:
    """One client; built by the listener that accepted it."""

    def __init__(
        self, router: Router, channel: UnixTransport, credentials: Credentials, *, read_only: bool
    ) -> None:
        """Begin to serve the client."""
        self.target: ConnectTarget | None = None
        self.read_only = read_only
        self.authenticated = router.is_trusted(credentials.uid, read_only=read_only)
        self.is_session_daemon = router.session
        self.close_callback = False
        self.callbacks = EventCallbacks()
        self.identifier = router.next_identifier()
        self._router = router
        self._channel = channel
        self._credentials = credentials
        self._client: Client | None = None
        self._running = 0
        self._waiting: deque[tuple[Frame, list[int]]] = deque()
        self._waiting_size = 0
        self._streams = ClientStreams(channel, router.end_stream)
        self._tasks: set[asyncio.Task[None]] = set()
        self._keepalive: Keepalive | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        router.add(self)
        channel.start(self._frame, self._closed)

    # What connection calls may do with the session that makes them.

    def start_keepalive(self) -> None:
        """Begin to ask the client for signs of life."""
        config = self._router.config
        if self._keepalive is None and config.keepalive_interval > 0:
            now = self._loop.time()
            self._keepalive = Keepalive(config.keepalive_interval, config.keepalive_count, now)
            self._timer = self._loop.call_later(config.keepalive_interval, self._check_alive)

    def close_after_reply(self) -> None:
        """Hang up once everything queued, the answer included, is out."""
        self._loop.call_soon(self._channel.close_when_sent)

    def close(self) -> None:
        """Hang up now."""
        self._channel.close()

    def deliver(self, event: ClientEvent) -> None:
        """Send an event that the client registered for and that its driver's clients may see."""
        if event.driver and (self.target is None or self.target.driver != event.driver):
            return
        for message in self.callbacks.matching(event):
            procedure = self._router.event(message.name)
            header = Header(
                procedure.program,
                procedure.version,
                procedure.number,
                MessageType.MESSAGE,
                EVENT_SERIAL,
                Status.OK,
            )
            self._channel.send(framing.encode(header, message.payload))

    # What comes from the client.

    def _frame(self, frame: Frame, descriptors: list[int]) -> None:
        if self._keepalive is not None:
            self._keepalive.heard(self._loop.time())
        kind = frame.header.type
        if kind in (MessageType.CALL, MessageType.CALL_WITH_FDS):
            self._accept_call(frame, descriptors)
            return
        close_all(descriptors)
        if kind in (MessageType.STREAM, MessageType.STREAM_HOLE):
            self._streams.receive(frame)
        elif (
            kind == MessageType.MESSAGE and (frame.header.program, frame.header.procedure) == PINGED
        ):
            self._send_keepalive(PONG)

    def _accept_call(self, frame: Frame, descriptors: list[int]) -> None:
        if self._running < self._router.config.max_client_requests and not self._waiting:
            self._call(frame, descriptors)
            return
        self._waiting.append((frame, descriptors))
        self._waiting_size += weight(frame, descriptors)
        if self._waiting_size > MAX_QUEUED:
            self._streams.read_pause.hold("calls", on=True)

    def _call(self, frame: Frame, descriptors: list[int]) -> None:
        header = frame.header
        try:
            procedure, arguments = self._check(header, frame.payload)
            if procedure.owner == "rpcd":
                self._call_local(header, procedure, arguments)
                close_all(descriptors)
                return
            cached = self._router.cache.get(
                cache_key(procedure, frame.payload, self._client_info().driver)
            )
            if cached is not None:
                close_all(descriptors)
                self._reply(header, cached)
                return
        except VirError as refusal:
            close_all(descriptors)
            self._reply_error(header, refusal)
            return
        self._running += 1
        task = self._loop.create_task(self._forward(header, procedure, frame.payload, descriptors))
        self._tasks.add(task)
        task.add_done_callback(self._call_done)

    def _check(self, header: Header, payload: bytes) -> tuple[Procedure, tuple[object, ...]]:
        """Find the procedure and decode its arguments, or refuse as stock does."""
        procedure = self._router.procedure(header)
        access.check_authenticated(procedure, authenticated=self.authenticated)
        try:
            arguments = procedure.decode_args(payload)
        except DecodeError as error:
            log.info("client %s: %s: %s", self._channel.name, procedure.name, error)
            detail = "Unable to decode message payload"
            raise VirError(ErrorCode.RPC, detail, ErrorDomain.RPC) from None
        access.check_open(procedure, arguments, opened=self.target is not None)
        if self.read_only:
            access.check_read_only(procedure, arguments)
        access.check_supported(procedure, self.target.driver if self.target else "")
        return procedure, arguments

    def _call_local(
        self, header: Header, procedure: Procedure, arguments: tuple[object, ...]
    ) -> None:
        value = self._router.local(procedure)(self, *arguments)
        self._reply(header, procedure.encode_ret(value))

    async def _forward(
        self, header: Header, procedure: Procedure, payload: bytes, descriptors: list[int]
    ) -> None:
        trace.set(new_trace())
        try:
            descriptors_sent = [Descriptor(fd) for fd in descriptors]
            answer = await self._router.invoke(
                procedure, payload, self._client_info(), descriptors_sent
            )
        except VirError as refusal:
            self._reply_error(header, refusal)
            return
        if self._channel.closed:
            discard(answer)
            return
        fds = [descriptor.take() for descriptor in answer.descriptors]
        self._reply(header, answer.payload, fds)
        if answer.stream is not None:
            process = self._router.process_for(procedure, self._client_info().driver)
            self._streams.open(header, answer.stream, process)

    def _client_info(self) -> Client:
        """Describe the client for the service that answers it; made anew only when it changed."""
        assert self.target is not None, "dispatch refuses other calls before CONNECT_OPEN"
        if self._client is None:
            self._client = Client(
                id=self.identifier,
                uid=self._credentials.uid,
                gid=self._credentials.gid,
                pid=self._credentials.pid,
                read_only=self.read_only,
                uri=self.target.uri,
                driver=self.target.driver,
                session=self.is_session_daemon,
            )
        return self._client

    def _call_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._running -= 1
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("client %s: a call failed inside rpcd", self._channel.name, exc_info=error)
            self.close()
        while self._waiting and self._running < self._router.config.max_client_requests:
            frame, descriptors = self._waiting.popleft()
            self._waiting_size -= weight(frame, descriptors)
            self._call(frame, descriptors)
        if self._waiting_size <= MAX_QUEUED // 2:
            self._streams.read_pause.hold("calls", on=False)

    # What goes to the client.

    def _reply(self, call: Header, payload: bytes, descriptors: list[int] | None = None) -> None:
        kind = MessageType.REPLY
        if descriptors:
            kind = MessageType.REPLY_WITH_FDS
            payload = len(descriptors).to_bytes(4, "big") + payload
        header = Header(call.program, call.version, call.procedure, kind, call.serial, Status.OK)
        self._channel.send(framing.encode(header, payload), descriptors)

    def _reply_error(self, call: Header, error: VirError) -> None:
        header = Header(
            call.program, call.version, call.procedure, MessageType.REPLY, call.serial, Status.ERROR
        )
        self._channel.send(framing.encode(header, error.to_wire()))

    def _send_keepalive(self, procedure: int) -> None:
        header = Header(KEEPALIVE, 1, procedure, MessageType.MESSAGE, 0, Status.OK)
        self._channel.send(framing.encode(header, b""))

    def _check_alive(self) -> None:
        assert self._keepalive is not None, "the timer starts with it"
        verdict, wait_s = self._keepalive.check(self._loop.time())
        if verdict is Verdict.GIVE_UP:
            log.info("client %s is closed: it answers no PING", self._channel.name)
            self.close()
            return
        if verdict is Verdict.PING:
            self._send_keepalive(PING)
        self._timer = self._loop.call_later(wait_s, self._check_alive)

    def _closed(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for _, descriptors in self._waiting:
            close_all(descriptors)
        self._waiting.clear()
        self._streams.close()
        self.callbacks.clear()
        self._router.remove(self)


def weight(frame: Frame, descriptors: list[int]) -> int:
    """How much a call that waits counts; one without a payload counts too."""
    return QUEUED_CALL + len(frame.payload) + QUEUED_DESCRIPTOR * len(descriptors)
