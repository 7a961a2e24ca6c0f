"""Peer: one connected link, with outbound calls, inbound calls and events.

Owns: the socket's frames, and the outbound calls that wait for a reply.
May not touch: other links; names of services.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

from ipc import context
from ipc.deadlines import Deadlines
from ipc.descriptor import Descriptor
from ipc.errors import BY_NAME, BusError, DeadlineExceeded, PeerGone, ProtocolError, QueueFull
from ipc.frames import (
    BodyDecoder,
    Call,
    Encoder,
    ErrorReply,
    EventFrame,
    FrameDecoder,
    Received,
    Reply,
)
from ipc.handlers import Endpoint, reply_decoder
from ipc.inbound import InboundCalls
from ipc.messages import Ack, Event, Request, Subscribe, tag_of
from ipc.transport import Transport

R = TypeVar("R")

MAX_PENDING: Final = 4096  # outbound calls of one peer
SUBSCRIBE: Final = tag_of(Subscribe)

log = logging.getLogger(__name__)


class _UncancelledFuture(asyncio.Future[Any]):
    """A reply that is waited for also when the caller is cancelled, who learns of that after it.

    `asyncio.shield` does the same with a second future and two more turns of the loop.
    """

    def cancel(self, msg: object = None) -> bool:
        """Refuse: the task is cancelled when it next runs."""
        return False


class _Waiting(NamedTuple):
    future: asyncio.Future[Any]
    decoder: BodyDecoder
    tag: str


class Peer:
    """One connected end of a socket pair."""

    def __init__(self, end: socket.socket, name: str, endpoint: Endpoint) -> None:
        """Take the socket over and begin to handle the peer's calls.

        Args:
            end: one end of a stream socket pair.
            name: the process at the other end.
            endpoint: the handlers and the error codec of this process.
        """
        self.name = name
        self.subscribed: set[str] = set()  # tags of the events that the peer subscribed to
        self.on_lost: list[Callable[[Peer], None]] = []
        self.closed_here = False  # by `close`, not by the peer
        self._endpoint = endpoint
        self._loop = asyncio.get_running_loop()
        self._encoder = Encoder()
        self._decoder = FrameDecoder()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._deadlines = Deadlines(self._loop, self._expire)
        self._inbound = InboundCalls(name, endpoint, self._send_answer)
        self._lost = self._loop.create_future()
        held_events = endpoint.held_events
        self._transport = Transport(end, self._received, self._disconnected, held_events)

    @property
    def closed(self) -> bool:
        """Whether the link is closed."""
        return self._transport.closed

    @property
    def is_busy(self) -> bool:
        """Whether a call of the peer is being handled."""
        return self._inbound.is_busy

    @property
    def last_call(self) -> float:
        """When the peer's last call came, or the link was made: the event loop's time."""
        return self._inbound.last_call

    async def call(
        self, request: Request[R], *, deadline_s: float | None = None, finish: bool = False
    ) -> R:
        """Send a request and wait for its reply.

        Args:
            request: its class has the deadline. The peer's handler is cancelled then, and when the
                calling task is cancelled.
            deadline_s: another deadline, for a request whose work differs from call to call.
            finish: wait for the reply also when the calling task is cancelled, which is then
                raised in its place: the caller undoes what it knows to be done.

        Raises:
            BusError: there is no reply.
            Exception: the service's own error, as the codec decodes it.
        """
        answer: R = await self.wait(self.start(request, deadline_s, finish=finish))
        return answer

    def start(
        self, request: Request[Any], deadline_s: float | None = None, *, finish: bool = False
    ) -> int:
        """Send a request; the caller must then `wait` for its reply by the number.

        Raises:
            PeerGone, QueueFull, ProtocolError: nothing was sent.
        """
        if len(self._waiting) >= MAX_PENDING:
            raise QueueFull(f"{MAX_PENDING} calls wait for replies of {self.name}")
        kind = type(request)
        tag = tag_of(kind)
        decoder = reply_decoder(kind)
        number = next(self._numbers)
        left_s = request.deadline_s if deadline_s is None else deadline_s
        fields = (0, number, left_s, context.trace.get(), tag, request)
        data, descriptors = self._encoder.encode(*fields)
        # Before the send: it wakes the other process, which often takes this one's processor.
        future = _UncancelledFuture(loop=self._loop) if finish else self._loop.create_future()
        self._waiting[number] = _Waiting(future, decoder, tag)
        self._deadlines.add(number, self._loop.time() + left_s)
        try:
            self._transport.send(data, descriptors)
        except BusError:
            del self._waiting[number]
            self._deadlines.remove(number)
            raise
        return number

    async def wait(self, number: int) -> Any:  # noqa: ANN401  (the request's own reply type)
        """Wait for the reply to a started request."""
        try:
            return await self._waiting[number].future
        except asyncio.CancelledError:
            if self._waiting[number].future.cancelled():  # not one with a reply, nor `finish`
                self._send_cancel(number)
            raise
        finally:
            del self._waiting[number]
            self._deadlines.remove(number)

    def send(self, event: Event) -> None:
        """Send an event, perhaps a moment later (`HeldEvents`); it is dropped if the peer is gone.

        Raises:
            QueueFull: the peer does not read.
        """
        fields = (3, context.trace.get(), tag_of(type(event)), event)
        data, descriptors = self._encoder.encode(*fields)
        try:
            if descriptors:
                self._transport.send(data, descriptors)
            else:
                self._transport.send_event(data)
        except PeerGone:
            for descriptor in descriptors:  # the holder of the other end must see it closed
                descriptor.close()
            log.debug("%s is gone, %s is dropped", self.name, type(event).__name__)

    def close(self) -> None:
        """Close the link; calls that wait for a reply fail with `PeerGone`."""
        self.closed_here = True
        self._transport.close()

    async def wait_closed(self) -> None:
        """Wait until the link is closed."""
        await asyncio.shield(self._lost)

    def _expire(self, number: int) -> None:
        waiting = self._waiting.get(number)
        if waiting is not None and not waiting.future.done():
            detail = f"{self.name} did not reply to {waiting.tag} before its deadline"
            waiting.future.set_exception(DeadlineExceeded(detail))
            self._send_cancel(number)

    def _send_cancel(self, number: int) -> None:
        try:
            self._transport.send(*self._encoder.encode(4, number), urgent=True)
        except (PeerGone, QueueFull):
            log.debug("the cancellation of a call cannot be sent to %s", self.name)

    def _send_answer(self, data: bytes, descriptors: list[Descriptor]) -> None:
        """Send a reply, or close the link to a peer that sends calls and does not read replies."""
        try:
            self._transport.send(data, descriptors, urgent=True)
        except PeerGone:
            log.debug("%s is gone before its reply", self.name)
            for callback in list(self._endpoint.on_reply_lost):
                callback()
        except QueueFull as error:
            log.error("the link to %s is closed: %s", self.name, error)
            self.close()

    def _received(self, data: bytes, descriptors: list[int]) -> None:
        try:
            for received in self._decoder.feed(data, descriptors):
                self._dispatch(received)
        except ProtocolError as error:
            log.error("the link to %s is closed: %s", self.name, error)
            self.close()

    def _dispatch(self, received: Received) -> None:
        frame = received.frame
        if isinstance(frame, Reply):
            self._reply_received(frame, received)
        elif isinstance(frame, Call):
            if frame.tag == SUBSCRIBE:
                self._subscribe(frame, received)
            else:
                self._inbound.on_call(frame, received)
        elif isinstance(frame, EventFrame):
            self._inbound.on_event(frame, received)
        elif isinstance(frame, ErrorReply):
            self._error_received(frame)
        else:
            self._inbound.cancel(frame.number)

    def _reply_received(self, reply: Reply, received: Received) -> None:
        waiting = self._waiting.get(reply.number)
        if waiting is None or waiting.future.done():
            return  # its deadline has passed
        try:
            waiting.future.set_result(received.body(waiting.decoder))
        except ProtocolError as error:
            waiting.future.set_exception(error)

    def _error_received(self, error_reply: ErrorReply) -> None:
        waiting = self._waiting.get(error_reply.number)
        if waiting is None or waiting.future.done():
            return
        if error_reply.name:
            error: Exception = BY_NAME.get(error_reply.name, BusError)(error_reply.text)
        else:
            error = self._decode_error(error_reply)
        waiting.future.set_exception(error)

    def _decode_error(self, fail: ErrorReply) -> Exception:
        try:
            return self._endpoint.errors.decode(fail.data)
        except Exception as error:  # noqa: BLE001  (a codec may raise anything at foreign bytes)
            return ProtocolError(f"an error of {self.name} cannot be decoded: {error}")

    def _subscribe(self, call: Call, received: Received) -> None:
        message = received.body(_SUBSCRIBE)
        assert isinstance(message, Subscribe), "the decoder makes nothing else"
        self.subscribed.update(message.tags)
        self._send_answer(*self._encoder.encode(1, call.number, Ack()))

    def _disconnected(self) -> None:
        for fd in self._decoder.close():
            os.close(fd)
        self._deadlines.clear()
        for waiting in self._waiting.values():
            if not waiting.future.done():
                detail = f"{self.name} ended before it replied to {waiting.tag}"
                waiting.future.set_exception(PeerGone(detail))
        # The peer's calls that run here go on: a change is better completed than half made.
        if not self._lost.done():
            self._lost.set_result(None)
        for callback in list(self.on_lost):
            callback(self)


_SUBSCRIBE: Final = BodyDecoder(Subscribe)
