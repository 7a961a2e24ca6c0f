"""A link to one other process: calls out, handlers in, events both ways.

Owns: the calls that wait for an answer, and the tasks that answer the peer's.
May not touch: other links; names of services.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from functools import cache
from types import CoroutineType
from typing import Any, Final, Protocol, TypeVar

from ipc import calling
from ipc.calling import Caller
from ipc.errors import (
    BY_NAME,
    BusError,
    DeadlineExceeded,
    ErrorCodec,
    NoErrors,
    PeerGone,
    ProtocolError,
    QueueFull,
    Unexpected,
    Unhandled,
)
from ipc.frames import BodyDecoder, Call, Cancel, Encoder, Fail, FrameDecoder, Note, Received, Reply
from ipc.messages import Done, Event, Request, Subscribe, answer_of, handlers_of, tag_of
from ipc.wire import Wire

R = TypeVar("R")

MAX_PENDING: Final = 4096  # calls that wait for one peer
MAX_ANSWERING: Final = 4096  # calls of one peer that are being answered

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Handler:
    """What answers one type of message."""

    run: Callable[..., object]  # a coroutine that it gives is run as a task
    decoder: BodyDecoder


@dataclass(slots=True)
class Handlers:
    """What one process answers, whoever asks."""

    by_tag: dict[str, Handler] = field(default_factory=dict)

    def add(self, target: object) -> None:
        """Register every marked method of an object.

        Raises:
            ValueError: a message has a handler already.
        """
        for message, method in handlers_of(target).items():
            self.add_function(message, method)

    def add_function(self, message: type, run: Callable[..., object]) -> None:
        """Register one function.

        Raises:
            ValueError: the message has a handler already.
        """
        tag = tag_of(message)
        if tag in self.by_tag:
            raise ValueError(f"{tag} has two handlers")
        self.by_tag[tag] = Handler(run, BodyDecoder(message))


class Home(Protocol):
    """What a link needs of the process that it belongs to."""

    handlers: Handlers
    errors: ErrorCodec


class Bare:
    """A home for a link that stands alone."""

    def __init__(self, errors: ErrorCodec | None = None) -> None:
        self.handlers = Handlers()
        self.errors: ErrorCodec = errors or NoErrors()


@cache
def answer_decoder(request: type) -> BodyDecoder:
    """The decoder of what answers a request."""
    return BodyDecoder(answer_of(request))


@dataclass(slots=True)
class _Waiting:
    future: asyncio.Future[Any]
    decoder: BodyDecoder
    timer: asyncio.TimerHandle
    tag: str


class Peer:
    """One connected end of a socket pair."""

    def __init__(self, end: socket.socket, name: str, home: Home) -> None:
        """Take the socket over and begin to answer.

        Args:
            end: one end of a stream socket pair.
            name: the process at the other end.
            home: what this process answers.
        """
        self.name = name
        self.subscribed: set[str] = set()  # tags of the events that the peer wants
        self.on_lost: list[Callable[[Peer], None]] = []
        self._home = home
        self._loop = asyncio.get_running_loop()
        self._encoder = Encoder()
        self._decoder = FrameDecoder()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._answering: dict[int, asyncio.Task[None]] = {}
        self._lost = self._loop.create_future()
        self._wire = Wire(end, self._received, self._gone)

    @property
    def closed(self) -> bool:
        """Whether the link is over."""
        return self._wire.closed

    def start(self, request: Request[R], timeout_s: float) -> asyncio.Future[R]:
        """Send a request; the future is its answer, or why there is none.

        Raises:
            PeerGone, QueueFull, ProtocolError: nothing was sent.
        """
        if len(self._waiting) >= MAX_PENDING:
            raise QueueFull(f"{MAX_PENDING} calls wait for {self.name}")
        number = next(self._numbers)
        kind = type(request)
        tag = tag_of(kind)
        data, descriptors = self._encoder.encode(
            0, number, timeout_s, calling.trace.get(), tag, request
        )
        self._send(data, descriptors)
        future: asyncio.Future[R] = self._loop.create_future()
        timer = self._loop.call_later(timeout_s, self._expire, number, timeout_s)
        self._waiting[number] = _Waiting(future, answer_decoder(kind), timer, tag)
        future.add_done_callback(lambda done: self._settled(number, done))
        return future

    async def call(self, request: Request[R], *, timeout_s: float) -> R:
        """Ask and wait for the answer.

        Args:
            request: the question.
            timeout_s: the longest wait; the peer's handler is cancelled then, and when the task
                that waits is.

        Raises:
            BusError: there is no answer.
            Exception: the service's own refusal, as its codec makes it.
        """
        return await self.start(request, timeout_s)

    def send(self, event: Event) -> None:
        """Send an event; if the peer has gone, nobody misses it.

        Raises:
            QueueFull: the peer does not read.
        """
        data, descriptors = self._encoder.encode(3, calling.trace.get(), tag_of(type(event)), event)
        try:
            self._send(data, descriptors)
        except PeerGone:
            log.debug("%s has gone; it misses %s", self.name, type(event).__name__)

    def close(self) -> None:
        """Close the link; what waits for an answer fails at once."""
        self._wire.close()

    async def wait_closed(self) -> None:
        """Wait until the link is over."""
        await asyncio.shield(self._lost)

    # Calls of ours.

    def _send(self, data: bytes, descriptors: list[Any]) -> None:
        self._wire.send(data, descriptors)

    def _expire(self, number: int, timeout_s: float) -> None:
        waiting = self._waiting.get(number)
        if waiting is not None and not waiting.future.done():
            detail = f"{self.name} did not answer {waiting.tag} in {timeout_s:.1f} s"
            waiting.future.set_exception(DeadlineExceeded(detail))
            self._send_cancel(number)

    def _settled(self, number: int, future: asyncio.Future[Any]) -> None:
        waiting = self._waiting.pop(number, None)
        if waiting is not None:
            waiting.timer.cancel()
        if future.cancelled():
            self._send_cancel(number)

    def _send_cancel(self, number: int) -> None:
        try:
            self._send(*self._encoder.encode(4, number))
        except (PeerGone, QueueFull):
            log.debug("%s cannot be told that a call is given up", self.name)

    def _answered(self, number: int, received: Received) -> None:
        waiting = self._waiting.get(number)
        if waiting is None or waiting.future.done():
            received.drop()  # came too late
            return
        try:
            waiting.future.set_result(received.body(waiting.decoder))
        except ProtocolError as problem:
            waiting.future.set_exception(problem)

    def _refused(self, fail: Fail) -> None:
        waiting = self._waiting.get(fail.number)
        if waiting is None or waiting.future.done():
            return
        if fail.name:
            error: Exception = BY_NAME.get(fail.name, BusError)(fail.text)
        else:
            error = self._home.errors.decode(fail.data)
        waiting.future.set_exception(error)

    # What comes from the peer.

    def _received(self, data: bytes, descriptors: list[int]) -> None:
        try:
            frames = self._decoder.feed(data, descriptors)
        except ProtocolError as problem:
            log.error("the link to %s is closed: %s", self.name, problem)
            self.close()
            return
        for received in frames:
            self._dispatch(received)

    def _dispatch(self, received: Received) -> None:
        frame = received.frame
        if isinstance(frame, Reply):
            self._answered(frame.number, received)
        elif isinstance(frame, Call):
            self._asked(frame, received)
        elif isinstance(frame, Note):
            self._noted(frame, received)
        elif isinstance(frame, Fail):
            self._refused(frame)
        else:
            self._cancelled(frame)

    def _cancelled(self, frame: Cancel) -> None:
        task = self._answering.get(frame.number)
        if task is not None:
            task.cancel()

    def _noted(self, note: Note, received: Received) -> None:
        handler = self._home.handlers.by_tag.get(note.tag)
        if handler is None:
            received.drop()
            return
        context = copy_context()
        context.run(calling.enter, Caller(self.name, note.trace, float("inf")))
        try:
            message = received.body(handler.decoder)
            work = context.run(handler.run, message)
            if isinstance(work, CoroutineType):
                self._spawn(-next(self._numbers), self._run_note(work), context)
        except ProtocolError as problem:
            log.error("event %s of %s is dropped: %s", note.tag, self.name, problem)
        except Exception:
            log.exception("event %s of %s was not dealt with", note.tag, self.name)

    async def _run_note(self, work: Coroutine[Any, Any, object]) -> None:
        try:
            await work
        except Exception:
            log.exception("an event of %s was not dealt with", self.name)

    def _asked(self, call: Call, received: Received) -> None:
        if call.tag == "bus.subscribe":
            self._subscribe(call, received)
            return
        handler = self._home.handlers.by_tag.get(call.tag)
        if handler is None:
            received.drop()
            self._fail(call.number, Unhandled(f"this process does not answer {call.tag}"))
            return
        if len(self._answering) >= MAX_ANSWERING:
            received.drop()
            self._fail(call.number, QueueFull(f"{MAX_ANSWERING} calls are being answered"))
            return
        context = copy_context()
        deadline = self._loop.time() + call.left_s
        context.run(calling.enter, Caller(self.name, call.trace, deadline))
        try:
            message = received.body(handler.decoder)
            answer = context.run(handler.run, message)
            if isinstance(answer, CoroutineType):
                work = self._answer(call.number, answer, call.left_s)
                self._spawn(call.number, work, context)
            else:
                self._reply(call.number, answer)
        except Exception as problem:  # noqa: BLE001  (the top of a handler: it becomes an answer)
            self._fail(call.number, problem)

    async def _answer(self, number: int, work: Coroutine[Any, Any, object], left_s: float) -> None:
        try:
            async with asyncio.timeout(left_s):
                answer = await work
            self._reply(number, answer)
        except Exception as problem:  # noqa: BLE001  (the top of a handler: it becomes an answer)
            self._fail(number, problem)

    def _spawn(self, number: int, work: Coroutine[Any, Any, None], context: Context) -> None:
        task = self._loop.create_task(work, context=context)
        self._answering[number] = task
        task.add_done_callback(lambda _: self._answering.pop(number, None))

    def _subscribe(self, call: Call, received: Received) -> None:
        try:
            message = received.body(_SUBSCRIBE)
        except ProtocolError as problem:
            self._fail(call.number, problem)
            return
        assert isinstance(message, Subscribe), "the decoder makes nothing else"
        self.subscribed.update(message.tags)
        self._reply(call.number, Done())

    def _reply(self, number: int, answer: object) -> None:
        try:
            self._send(*self._encoder.encode(1, number, answer))
        except PeerGone:
            log.debug("%s has gone before its answer", self.name)

    def _fail(self, number: int, problem: Exception) -> None:
        data = self._home.errors.encode(problem)
        if data is not None:
            words: tuple[str, str, bytes] = ("", "", data)
        elif isinstance(problem, TimeoutError):
            words = ("DeadlineExceeded", "the handler took longer than the deadline", b"")
        elif isinstance(problem, BusError) and type(problem).__name__ in BY_NAME:
            words = (type(problem).__name__, str(problem), b"")
        else:
            log.error("a call of %s failed", self.name, exc_info=problem)
            words = (Unexpected.__name__, f"{type(problem).__name__}: {problem}", b"")
        try:
            self._send(*self._encoder.encode(2, number, *words))
        except (PeerGone, QueueFull):
            log.debug("%s has gone before its refusal", self.name)

    def _gone(self) -> None:
        for fd in self._decoder.close():
            os.close(fd)
        for waiting in list(self._waiting.values()):
            if not waiting.future.done():
                detail = f"{self.name} has gone before it answered {waiting.tag}"
                waiting.future.set_exception(PeerGone(detail))
        # What is being answered goes on to its end: a change half made helps nobody.
        if not self._lost.done():
            self._lost.set_result(None)
        for callback in list(self.on_lost):
            callback(self)


_SUBSCRIBE: Final = BodyDecoder(Subscribe)
