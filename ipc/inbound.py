"""Inbound side of a link: the peer's calls and events, from a frame to its handler and back.

Owns: the tasks that run handlers, and their deadlines.
May not touch: sockets; outbound calls.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from functools import partial
from types import CoroutineType
from typing import Any, Final

from ipc.context import CallContext, set_call
from ipc.deadlines import Deadlines
from ipc.descriptor import Descriptor
from ipc.errors import (
    BY_NAME,
    BusError,
    ErrorCodec,
    HandlerFailed,
    NoHandler,
    ProtocolError,
    QueueFull,
)
from ipc.frames import Call, Encoder, EventFrame, Received
from ipc.handlers import Endpoint

MAX_CALLS: Final = 4096  # of one peer that run at a time
MAX_DEADLINE_S: Final = 86400.0  # whatever the peer's frame says
FOREVER: Final = float("inf")

log = logging.getLogger(__name__)

HandlerCoroutine = Coroutine[Any, Any, object]
#: Sends an encoded frame; never raises, even when the peer is gone.
Send = Callable[[bytes, list[Descriptor]], None]


class InboundCalls:
    """The peer's calls and events on one link."""

    def __init__(self, name: str, endpoint: Endpoint, send: Send) -> None:
        """Handle nothing until frames come.

        Args:
            name: the process at the other end.
            endpoint: the handlers and the error codec of this process.
            send: sends a frame to the peer.
        """
        self._name = name
        self._endpoint = endpoint
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._encoder = Encoder()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._event_numbers = itertools.count(-1, -1)
        self.last_call = self._loop.time()  # when the peer's last call came
        self._deadlines = Deadlines(self._loop, self.cancel)

    def on_call(self, call: Call, received: Received) -> None:
        """Run a call's handler: at once, or in a task when it is a coroutine.

        Raises:
            ProtocolError: another running call has its number.
        """
        number = call.number
        if number < 0 or number in self._tasks:
            raise ProtocolError(f"call {number} runs already")
        handler = self._endpoint.handlers.find(call.tag)
        if handler is None:
            self._fail(number, NoHandler(f"this process has no handler for {call.tag}"))
            return
        if len(self._tasks) >= MAX_CALLS:
            self._fail(number, QueueFull(f"{MAX_CALLS} calls are running"))
            return
        self.last_call = self._loop.time()
        deadline = self.last_call + min(MAX_DEADLINE_S, max(0.0, call.left_s))
        context = copy_context()
        context.run(set_call, CallContext(self._name, call.trace, deadline))
        try:
            answer = context.run(handler.run, received.body(handler.decoder))
            if isinstance(answer, CoroutineType):
                self._deadlines.add(number, deadline)
                self._spawn(number, self._answer, answer, context)
            else:
                self._reply(number, answer)
        except Exception as error:  # noqa: BLE001  (the top of a handler: the error becomes the reply)
            context.run(self._fail, number, error)

    def on_event(self, event: EventFrame, received: Received) -> None:
        """Run an event's handler; an event without one is dropped."""
        handler = self._endpoint.handlers.find(event.tag)
        if handler is None:
            return
        context = copy_context()
        context.run(set_call, CallContext(self._name, event.trace, FOREVER))
        try:
            work = context.run(handler.run, received.body(handler.decoder))
            if isinstance(work, CoroutineType):
                self._spawn(next(self._event_numbers), self._handle_event, work, context)
        except ProtocolError as error:
            log.error("event %s of %s is dropped: %s", event.tag, self._name, error)
        except Exception as error:  # noqa: BLE001  (the top of a handler: it is logged)
            detail = "the handler of event %s of %s failed"
            context.run(partial(log.error, detail, event.tag, self._name, exc_info=error))

    @property
    def is_busy(self) -> bool:
        """Whether a call or event of the peer is being handled by a task."""
        return bool(self._tasks)

    def cancel(self, number: int) -> None:
        """Cancel a call's handler: the peer no longer waits, or the deadline has passed."""
        task = self._tasks.get(number)
        if task is not None:
            task.cancel()

    async def _answer(self, number: int, work: HandlerCoroutine) -> None:
        try:
            self._reply(number, await work)
        except Exception as error:  # noqa: BLE001  (the top of a handler: the error becomes the reply)
            self._fail(number, error)

    async def _handle_event(self, _: int, work: HandlerCoroutine) -> None:
        try:
            await work
        except Exception:
            log.exception("the handler of an event of %s failed", self._name)

    def _spawn(
        self,
        number: int,
        run: Callable[[int, HandlerCoroutine], Coroutine[Any, Any, None]],
        work: HandlerCoroutine,
        context: Context,
    ) -> None:
        def done(_: asyncio.Task[None]) -> None:
            work.close()  # a task cancelled before its first step never awaits it
            self._deadlines.remove(number)
            del self._tasks[number]

        task = self._loop.create_task(run(number, work), context=context)
        self._tasks[number] = task
        task.add_done_callback(done)

    def _reply(self, number: int, answer: object) -> None:
        self._send(*self._encoder.encode(1, number, answer))

    def _fail(self, number: int, error: Exception) -> None:
        fields = error_fields(error, self._endpoint.errors, self._name)
        self._send(*self._encoder.encode(2, number, *fields))


def error_fields(error: Exception, codec: ErrorCodec, caller: str) -> tuple[str, str, bytes]:
    """Return the fields of an error reply; log an error that is neither the service's nor ours.

    Args:
        error: what a handler raised.
        codec: of the service's own errors.
        caller: the process that called.
    """
    data = codec.encode(error)
    if data is not None:
        return "", "", data
    if isinstance(error, TimeoutError):
        return "DeadlineExceeded", f"the handler timed out: {error}", b""
    if isinstance(error, BusError) and type(error).__name__ in BY_NAME:
        return type(error).__name__, str(error), b""
    log.error("a call of %s failed", caller, exc_info=error)
    return HandlerFailed.__name__, f"{type(error).__name__}: {error}", b""
