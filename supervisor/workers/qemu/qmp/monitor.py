"""The connection to one QEMU monitor: commands with deadlines, replies, events.

Owns: commands that wait for their replies. May touch: QEMU, by commands, through its connection.
May not touch: what events mean.

QEMU may still execute a command whose deadline has passed. Until its reply has come, no other is
sent: those that wait fail at their own deadlines and are never executed. So a QEMU that was stopped
(SIGSTOP) for an hour does not execute an hour's forgotten commands when it continues.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

import msgspec

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers.qemu.qmp.connection import MonitorConnection
from supervisor.workers.qemu.qmp.protocol import (
    Arguments,
    ErrorObject,
    Message,
    encode_command,
    encode_raw_command,
)

COMMAND_S: Final = (
    4.5  # below the 5 s after which a client must have an error for a guest that hangs
)
MAX_PENDING: Final = 256  # commands, sent or not
ADDS_BITMAP: Final = b"block-dirty-bitmap-add"
T = TypeVar("T")

log = logging.getLogger(__name__)


class QmpError(VirError):
    """QEMU replied to a command with an error."""

    def __init__(self, command: str, error: ErrorObject) -> None:
        detail = f"unable to execute QEMU command '{command}': {error.desc}"
        super().__init__(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU)
        self.error_class = error.error_class
        self.desc = error.desc


class Query(NamedTuple):
    """A command that returns a value, and the type of that value."""

    command: str
    reply_type: type[object]
    arguments: Arguments | None = None


@dataclass(slots=True, eq=False)
class _Command:
    number: int
    command: str
    data: bytes
    future: asyncio.Future[Message]
    fd: int | None = None
    written: bool = False


class Monitor:
    """The monitor of one QEMU."""

    def __init__(
        self,
        end: socket.socket,
        guest: str,
        on_event: Callable[[Message], None],
        on_lost: Callable[[str], None],
        unread: bytes | None = None,
    ) -> None:
        """Take a connected socket over; `greet` must follow.

        Args:
            end: connected, if only to the backlog of a QEMU that is starting.
            guest: the domain's name, for messages.
            on_event: called for every event.
            on_lost: called once with the reason when QEMU closes the connection or sends no QMP.
            unread: what another process has read of it after the greeting; `start_reading`
                follows. None: nobody has.
        """
        self._guest = guest
        self._on_event = on_event
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._pending: dict[int, _Command] = {}
        self._abandoned: set[int] = set()  # ids: sent, past their deadline, no reply yet
        self._greeting: asyncio.Future[Message] = self._loop.create_future()
        self._greeting.add_done_callback(_ignore_exception)
        #: Called before a command is sent that adds a dirty bitmap, or may: a client's own.
        self.before_bitmap: Callable[[], None] = _nothing
        self.lost_reason = ""  # why the connection is closed; "" while it is not
        self._connection = MonitorConnection(end, self._dispatch, self._fail, unread)

    def start_reading(self) -> None:
        """Read what QEMU sends, unless that is done already."""
        self._connection.start_reading()

    def drain(self) -> None:
        """Read what is there already."""
        self._connection.drain()

    @property
    def is_quiet(self) -> bool:
        """Whether QEMU owes no reply, and nothing is to be sent to it."""
        return not (self._pending or self._abandoned) and self._connection.is_idle

    def hand_over(self) -> tuple[int, bytes]:
        """Stop reading, for another process to go on; until then `start_reading` takes it back.

        Returns:
            A descriptor of the connection, which the caller owns, and what was read of a message.
        """
        assert self.is_quiet, "a reply would be taken for that to another command"
        return self._connection.hand_over()

    @property
    def is_hung(self) -> bool:
        """Whether a reply is overdue: QEMU hangs, or its process is stopped."""
        return bool(self._abandoned)

    async def greet(self, timeout_s: float) -> None:
        """Wait for QEMU's greeting, and leave capabilities negotiation mode.

        Raises:
            VirError: OPERATION_TIMEOUT; OPERATION_FAILED: the connection is lost.
        """
        try:
            async with asyncio.timeout(timeout_s):
                # Shielded: a later round may still wait for it (`Guest.reconnect`).
                await asyncio.shield(self._greeting)
        except TimeoutError:
            raise self._timeout_error("greet", timeout_s) from None
        await self.execute("qmp_capabilities", timeout_s=timeout_s)

    async def execute(
        self,
        command: str,
        arguments: Arguments | None = None,
        *,
        timeout_s: float = COMMAND_S,
        fd: int | None = None,
    ) -> None:
        """Execute a command that returns nothing of interest.

        Args:
            command: its name.
            arguments: its arguments.
            timeout_s: the deadline.
            fd: a descriptor for `getfd` or `add-fd`; it stays the caller's.

        Raises:
            QmpError: QEMU replied with an error.
            VirError: OPERATION_TIMEOUT; OPERATION_FAILED: the connection is lost.
        """
        await self._return_value(self._start(command, arguments, fd), timeout_s)

    async def query(
        self,
        command: str,
        reply_type: type[T],
        arguments: Arguments | None = None,
        *,
        timeout_s: float = COMMAND_S,
        fd: int | None = None,
    ) -> T:
        """Execute a command and decode what it returns. Arguments and errors as `execute`."""
        pending = self._start(command, arguments, fd)
        return self._decode_reply(command, await self._return_value(pending, timeout_s), reply_type)

    async def execute_all(
        self,
        commands: Sequence[tuple[str, Arguments]],
        done: Callable[[int], None],
        *,
        timeout_s: float = COMMAND_S,
    ) -> None:
        """Execute several commands in one round trip; QEMU executes each, whatever others did.

        Args:
            commands: names and arguments, in order.
            done: called with the place of each that QEMU has executed.
            timeout_s: the deadline of all of them.

        Raises:
            QmpError: the first refusal, after all replies.
            VirError: as `execute`; `done` was called for those that had a reply by then.
        """
        pending = [self._make(command, arguments, None) for command, arguments in commands]
        refused: QmpError | None = None
        place = 0
        async for _, result in self._replies(pending, timeout_s):
            if isinstance(result, QmpError):
                refused = refused or result
            else:
                done(place)
            place += 1
        if refused is not None:
            raise refused

    async def query_all(
        self, queries: Sequence[Query], *, timeout_s: float = COMMAND_S
    ) -> list[object]:
        """Execute several queries in one round trip; a failed one's result is its `QmpError`.

        Raises:
            VirError: OPERATION_TIMEOUT; OPERATION_FAILED: the connection is lost.
        """
        pending = [self._make(query.command, query.arguments, None) for query in queries]
        results: list[object] = []
        async for command, result in self._replies(pending, timeout_s):
            if not isinstance(result, QmpError):
                reply_type = queries[len(results)].reply_type
                results.append(self._decode_reply(command, result, reply_type))
            else:
                results.append(result)
        return results

    async def _replies(
        self, commands: Sequence[_Command], timeout_s: float
    ) -> AsyncIterator[tuple[str, msgspec.Raw | QmpError]]:
        """Send commands, and yield the name of each with its reply, in order."""
        self._send(*commands)
        deadline = self._loop.time() + timeout_s
        try:
            for pending in commands:
                left = max(deadline - self._loop.time(), 0.001)
                try:
                    yield pending.command, await self._return_value(pending, left)
                except QmpError as error:
                    yield pending.command, error
        finally:
            for pending in commands:
                self._abandon(pending)

    async def execute_raw(
        self, command: msgspec.Raw, *, timeout_s: float, fd: int | None = None
    ) -> Message:
        """Execute a client's own command and return the reply or error reply unchanged.

        Args:
            command: as the client wrote it.
            timeout_s: the deadline.
            fd: a descriptor to pass with it; it stays the caller's.

        Raises:
            ValueError: it is not a command.
            VirError: as `execute`, but never `QmpError`.
        """
        number = self._number()
        data = encode_raw_command(command, number)
        self.before_bitmap()
        pending = _Command(number, "client's", data, self._loop.create_future(), fd)
        self._send(pending)
        return await self._wait(pending, timeout_s)

    def close(self) -> None:
        """Close the connection without calling `on_lost`."""
        self._end("the monitor was closed")

    def _number(self) -> int:
        if self.lost_reason:
            raise self._lost_error()
        if len(self._pending) >= MAX_PENDING:
            detail = f"{MAX_PENDING} QMP commands of '{self._guest}' wait already"
            raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.QEMU)
        return next(self._numbers)

    def _start(self, command: str, arguments: Arguments | None, fd: int | None) -> _Command:
        pending = self._make(command, arguments, fd)
        self._send(pending)
        return pending

    def _make(self, command: str, arguments: Arguments | None, fd: int | None) -> _Command:
        number = self._number()
        data = encode_command(command, arguments, number)
        if ADDS_BITMAP in data:
            self.before_bitmap()
        return _Command(number, command, data, self._loop.create_future(), fd)

    def _send(self, *commands: _Command) -> None:
        """Send commands, in one write where they fit."""
        for pending in commands:
            self._pending[pending.number] = pending
            pending.future.add_done_callback(_ignore_exception)
        self._connection.send(commands)

    async def _return_value(self, pending: _Command, timeout_s: float) -> msgspec.Raw:
        message = await self._wait(pending, timeout_s)
        if message.error is not None:
            raise QmpError(pending.command, message.error)
        return message.return_value if message.return_value is not None else msgspec.Raw(b"{}")

    async def _wait(self, pending: _Command, timeout_s: float) -> Message:
        try:
            async with asyncio.timeout(timeout_s):
                return await pending.future
        except TimeoutError:
            raise self._timeout_error(pending.command, timeout_s) from None
        finally:
            self._abandon(pending)

    def _abandon(self, pending: _Command) -> None:
        """Forget a command; one that was sent holds up those after it until its reply comes."""
        if self._pending.pop(pending.number, None) is None:
            return
        if not pending.written:
            self._connection.withdraw(pending)
        elif not self.lost_reason:
            self._abandoned.add(pending.number)
            self._connection.hold(on=True)

    def _decode_reply(self, command: str, value: msgspec.Raw, reply_type: type[T]) -> T:
        try:
            return msgspec.json.decode(value, type=reply_type)
        except (msgspec.MsgspecError, RecursionError) as error:
            detail = f"QEMU of '{self._guest}' sent a malformed reply to {command}: {error}"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU) from error

    def _dispatch(self, message: Message) -> None:
        if message.event is not None:
            self._on_event(message)
        elif message.greeting is not None:
            if not self._greeting.done():
                self._greeting.set_result(message)
        elif isinstance(message.id, int):
            self._complete(message.id, message)

    def _complete(self, number: int, message: Message) -> None:
        pending = self._pending.pop(number, None)
        if pending is not None and not pending.future.done():
            pending.future.set_result(message)
        if number in self._abandoned:
            self._abandoned.discard(number)
            self._connection.hold(on=bool(self._abandoned))

    def _fail(self, reason: str) -> None:
        if self.lost_reason:
            return
        self._end(reason)
        self._on_lost(reason)

    def _end(self, reason: str) -> None:
        if self.lost_reason:
            return
        self.lost_reason = reason
        self._connection.close()
        self._abandoned.clear()
        for pending in list(self._pending.values()):
            if not pending.future.done():
                pending.future.set_exception(self._lost_error())
        if not self._greeting.done():
            self._greeting.set_exception(self._lost_error())

    def _lost_error(self) -> VirError:
        detail = f"the monitor of '{self._guest}' is not connected: {self.lost_reason}"
        return VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.QEMU)

    def _timeout_error(self, command: str, timeout_s: float) -> VirError:
        detail = (
            f"QEMU of '{self._guest}' did not reply to {command} in {timeout_s:.1f} s; "
            "the guest hangs or its process is stopped"
        )
        return VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.QEMU)


def _nothing() -> None:
    """Do nothing."""


def _ignore_exception(future: asyncio.Future[Message]) -> None:
    """Mark an exception as retrieved: a future that is not awaited must not log it."""
    if not future.cancelled():
        future.exception()
