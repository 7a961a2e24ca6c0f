"""The link to one emulator's QMP socket: commands with deadlines, answers, events.

Owns: the socket. May touch: the emulator, through commands. May not touch: what events mean.

A command that is not answered in time may still be obeyed later. Until the emulator has answered
it, nothing else is sent: what waits is given up at its own deadline and then never happens. So a
guest that was stopped for an hour does not obey an hour's forgotten commands when it goes on.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import itertools
import logging
import socket
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

import msgspec

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers.qemu.qmp.protocol import (
    Arguments,
    Decoder,
    Message,
    QmpFormatError,
    Refusal,
    encode,
    encode_raw,
)

COMMAND_S: Final = 4.5  # below the 5 s in which a client hears of a guest that hangs
MAX_WAITING: Final = 256  # commands, sent or not
CHUNK: Final = 1 << 16
T = TypeVar("T")

log = logging.getLogger(__name__)


class QmpRefusal(VirError):
    """The emulator refused a command."""

    def __init__(self, command: str, refusal: Refusal) -> None:
        """Say what the emulator said."""
        detail = f"unable to execute QEMU command '{command}': {refusal.desc}"
        super().__init__(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU)
        self.kind = refusal.kind
        self.desc = refusal.desc


class Query(NamedTuple):
    """A question, and how its answer is read."""

    command: str
    kind: type[object]
    arguments: Arguments | None = None


@dataclass(slots=True, eq=False)
class _Sent:
    number: int
    command: str
    data: bytes
    future: asyncio.Future[Message]
    fd: int | None = None
    written: bool = False


class Monitor:
    """One emulator's monitor."""

    def __init__(
        self,
        end: socket.socket,
        guest: str,
        on_event: Callable[[Message], None],
        on_lost: Callable[[str], None],
    ) -> None:
        """Take a connected socket over; `greet` must follow.

        Args:
            end: connected, or about to be answered by an emulator that starts.
            guest: its name, for messages.
            on_event: called for every event.
            on_lost: called once with why, when the emulator closes the link or talks garbage.
        """
        end.settimeout(0)
        self._socket = end
        self._guest = guest
        self._on_event = on_event
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._decoder = Decoder()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Sent] = {}
        self._unsent: deque[_Sent] = deque()
        self._abandoned: set[int] = set()  # sent, given up, not answered yet
        self._out = bytearray()
        self._writing = False
        self._greeting: asyncio.Future[Message] = self._loop.create_future()
        self._greeting.add_done_callback(_retrieve)
        self.lost = ""  # why the link is over
        self._loop.add_reader(end.fileno(), self._readable)

    @property
    def stuck(self) -> bool:
        """Whether the emulator owes an answer that nobody waits for any more."""
        return bool(self._abandoned)

    async def greet(self, timeout_s: float) -> None:
        """Wait for the emulator's greeting and leave the mode in which it takes no commands.

        Raises:
            VirError: OPERATION_TIMEOUT, or INTERNAL_ERROR when it has gone.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self._greeting)
        except TimeoutError:
            raise self._timeout("greet", timeout_s) from None
        await self.execute("qmp_capabilities", timeout_s=timeout_s)

    async def execute(
        self,
        command: str,
        arguments: Arguments | None = None,
        *,
        timeout_s: float = COMMAND_S,
        fd: int | None = None,
    ) -> None:
        """Have the emulator do something.

        Args:
            command: QMP's name of it.
            arguments: QMP's.
            timeout_s: after which the wait is given up.
            fd: a descriptor that goes with the command; it stays the caller's.

        Raises:
            QmpRefusal: the emulator's own refusal.
            VirError: OPERATION_TIMEOUT; OPERATION_FAILED when the emulator has gone.
        """
        await self._finish(self._start(command, arguments, fd), timeout_s)

    async def ask(
        self,
        command: str,
        kind: type[T],
        arguments: Arguments | None = None,
        *,
        timeout_s: float = COMMAND_S,
    ) -> T:
        """Ask the emulator something; the answer is read as `kind`. Raises as `execute`."""
        sent = self._start(command, arguments, None)
        return self._read(command, await self._finish(sent, timeout_s), kind)

    async def ask_all(
        self, queries: Sequence[Query], *, timeout_s: float = COMMAND_S
    ) -> list[object]:
        """Ask many things at once: one round trip. A refused one's place holds its `QmpRefusal`.

        Raises:
            VirError: OPERATION_TIMEOUT; OPERATION_FAILED when the emulator has gone.
        """
        sent = [self._start(query.command, query.arguments, None) for query in queries]
        results: list[object] = []
        deadline = self._loop.time() + timeout_s
        try:
            for query, one in zip(queries, sent, strict=True):
                try:
                    answer = await self._finish(one, max(deadline - self._loop.time(), 0.001))
                    results.append(self._read(query.command, answer, query.kind))
                except QmpRefusal as refusal:
                    results.append(refusal)
        finally:
            for one in sent:
                self._give_up(one)
        return results

    async def pass_through(self, command: msgspec.Raw, *, timeout_s: float) -> Message:
        """Send a client's own command; the answer, or refusal, comes back as it is.

        Raises:
            ValueError: it is no command. VirError: as `execute`, but never `QmpRefusal`.
        """
        number = self._number()
        sent = _Sent(number, "client's", encode_raw(command, number), self._loop.create_future())
        self._send(sent)
        return await self._wait(sent, timeout_s)

    def close(self) -> None:
        """Close the link without telling `on_lost`."""
        self._end("the monitor was closed")

    def _number(self) -> int:
        if self.lost:
            raise self._gone()
        if len(self._waiting) >= MAX_WAITING:
            detail = f"{MAX_WAITING} commands wait for the emulator of '{self._guest}' already"
            raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.QEMU)
        return next(self._numbers)

    def _start(self, command: str, arguments: Arguments | None, fd: int | None) -> _Sent:
        number = self._number()
        data = encode(command, arguments, number)
        sent = _Sent(number, command, data, self._loop.create_future(), fd)
        self._send(sent)
        return sent

    def _send(self, sent: _Sent) -> None:
        self._waiting[sent.number] = sent
        sent.future.add_done_callback(_retrieve)
        self._unsent.append(sent)
        self._pump()

    async def _finish(self, sent: _Sent, timeout_s: float) -> msgspec.Raw:
        message = await self._wait(sent, timeout_s)
        if message.error is not None:
            raise QmpRefusal(sent.command, message.error)
        return message.answer if message.answer is not None else msgspec.Raw(b"{}")

    async def _wait(self, sent: _Sent, timeout_s: float) -> Message:
        try:
            async with asyncio.timeout(timeout_s):
                return await sent.future
        except TimeoutError:
            raise self._timeout(sent.command, timeout_s) from None
        finally:
            self._give_up(sent)

    def _give_up(self, sent: _Sent) -> None:
        """Forget a command; one that the emulator has not answered yet holds up what follows."""
        if self._waiting.pop(sent.number, None) is None:
            return
        if sent.written:
            if not self.lost:
                self._abandoned.add(sent.number)
        else:
            with contextlib.suppress(ValueError):
                self._unsent.remove(sent)

    def _read(self, command: str, answer: msgspec.Raw, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(answer, type=kind)
        except (msgspec.MsgspecError, RecursionError) as error:
            detail = f"the emulator of '{self._guest}' answered {command} unintelligibly: {error}"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU) from error

    # The socket.

    def _pump(self) -> None:
        """Write what may be written."""
        if self.lost or self._writing:
            return
        try:
            while self._out or self._next():
                self._write_once()
        except BlockingIOError:
            self._writing = True
            self._loop.add_writer(self._socket.fileno(), self._writable)
        except OSError as error:
            self._fail(f"the emulator's monitor cannot be written to: {error}")

    def _next(self) -> bool:
        """Take the next command to write; none while an answer is owed."""
        if not self._unsent or self._abandoned:
            return False
        sent = self._unsent[0]
        if sent.fd is not None:
            # A descriptor travels with the first byte of its command.
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [sent.fd]))
            written = self._socket.sendmsg([sent.data], [rights])
            self._out += sent.data[written:]
        else:
            self._out += sent.data
        sent.written = True
        self._unsent.popleft()
        return True

    def _write_once(self) -> None:
        while self._unsent and self._unsent[0].fd is None and not self._abandoned:
            if not self._next():
                break
        if self._out:
            del self._out[: self._socket.send(self._out)]

    def _writable(self) -> None:
        self._loop.remove_writer(self._socket.fileno())
        self._writing = False
        self._pump()

    def _readable(self) -> None:
        try:
            data = self._socket.recv(CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._fail(f"the emulator's monitor cannot be read: {error}")
            return
        if not data:
            self._fail("the emulator closed its monitor")
            return
        try:
            for message in self._decoder.feed(data):
                self._take(message)
        except QmpFormatError as error:
            self._fail(str(error))

    def _take(self, message: Message) -> None:
        if message.event is not None:
            self._on_event(message)
        elif message.greeting is not None:
            if not self._greeting.done():
                self._greeting.set_result(message)
        elif isinstance(message.id, int):
            self._answered(message.id, message)

    def _answered(self, number: int, message: Message) -> None:
        sent = self._waiting.pop(number, None)
        if sent is not None and not sent.future.done():
            sent.future.set_result(message)
        if number in self._abandoned:
            self._abandoned.discard(number)
            self._pump()

    def _fail(self, why: str) -> None:
        if self.lost:
            return
        self._end(why)
        self._on_lost(why)

    def _end(self, why: str) -> None:
        if self.lost:
            return
        self.lost = why
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        self._unsent.clear()
        self._abandoned.clear()
        for sent in list(self._waiting.values()):
            if not sent.future.done():
                sent.future.set_exception(self._gone())
        if not self._greeting.done():
            self._greeting.set_exception(self._gone())

    def _gone(self) -> VirError:
        detail = f"the emulator of '{self._guest}' cannot be asked: {self.lost}"
        return VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.QEMU)

    def _timeout(self, command: str, timeout_s: float) -> VirError:
        detail = (
            f"the emulator of '{self._guest}' did not answer {command} in {timeout_s:.1f} s; "
            "the guest hangs or its process is stopped"
        )
        return VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.QEMU)


def _retrieve(future: asyncio.Future[Message]) -> None:
    """Nobody need wait for it: an exception is no loss then."""
    if not future.cancelled():
        future.exception()
