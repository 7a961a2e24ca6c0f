"""One pipe: its reading end in the event loop, and the file that a thread writes.

Owns: both. May not touch: other pipes.

A disk that is full or does not answer must not hold up the guest, which writes to the pipe: what
the file cannot take is thrown away, and counted.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final

from supervisor.logd.records import NamedPipe
from supervisor.logd.rotating_file import RotatingFile

CHUNK: Final = 64 * 1024  # bytes read at once: what a pipe holds
DRAIN_CHUNKS: Final = 4  # of a pipe that a guest fills all the time
BACKLOG: Final = 1 << 20  # bytes that wait for the disk
STALL_S: Final = 1.0  # a full backlog waits so long for the disk; then bytes are thrown away
TAIL: Final = 4096  # bytes of output in an error message

log = logging.getLogger(__name__)


class LogPipe:
    """A pipe of which every byte goes to a file."""

    def __init__(
        self,
        pipe: NamedPipe,
        file: RotatingFile,
        threads: Executor,
        on_end: Callable[[LogPipe], None],
    ) -> None:
        """Begin to read. `on_end` is called when the last writer is gone and all is written."""
        self.pipe = pipe
        self.file = file
        self._threads = threads
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._backlog = bytearray()
        self._writing: asyncio.Future[None] | None = None
        self._stalled: asyncio.TimerHandle | None = None  # until it fires, nothing is read
        self._discards = False
        self._lost = 0  # bytes
        self._failure = ""  # of the last write, so that it is logged once
        self._taken = 0  # bytes that were read since the pipe is this process's
        self._done = 0  # of them, bytes that were written, or could not be
        self._ended = False
        self._loop.add_reader(pipe.reader, self._read)

    @property
    def ended(self) -> bool:
        """Whether its last writer is gone."""
        return self._ended

    async def hand_over(self) -> None:
        """Stop reading, write what was read, and close both; another process goes on with it.

        What stays in the pipe is the other's. What was taken out of it is not there any more, so
        the file must have it before that process appends to the file.
        """
        self._stop_reading()
        while self._writing is not None:
            await asyncio.wait({self._writing})
        if not self._ended:  # else `_finish` has closed them
            self._close()

    async def drain(self) -> None:
        """Write what is in the pipe now; more may come meanwhile."""
        for _ in range(DRAIN_CHUNKS):
            if self._ended or not self._read():
                break
        taken = self._taken
        while self._writing is not None and self._done < taken:
            await asyncio.wait({self._writing})

    async def read_output(self) -> bytes:
        """Return the last 4 KiB of what came through the pipe, after `drain`.

        Raises:
            OSError: the file cannot be read.
        """
        await self.drain()
        return await self._loop.run_in_executor(
            self._threads, self.file.tail, min(TAIL, self._done)
        )

    def _read(self) -> bool:
        """Read what is there; whether there may be more."""
        try:
            data = os.read(self.pipe.reader, CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self._ended = True
            self._stop_reading()
            if self._writing is None:
                self._finish()
            return False
        if self._discards:
            self._lost += len(data)
            return True
        self._backlog += data
        self._taken += len(data)
        if self._writing is None:
            self._write()
        elif len(self._backlog) >= BACKLOG and self._stalled is None:
            self._loop.remove_reader(self.pipe.reader)
            self._stalled = self._loop.call_later(STALL_S, self._discard)
        return len(self._backlog) < BACKLOG

    def _discard(self) -> None:
        """Throw away what comes until the disk has answered: the guest does not wait for it."""
        self._stalled = None
        self._discards = True
        if not self._ended:
            self._loop.add_reader(self.pipe.reader, self._read)

    def _write(self) -> None:
        data = bytes(self._backlog)
        count = len(data)
        self._backlog.clear()
        if self._lost:
            data += f"\n{self._lost} bytes are missing here: the disk did not answer\n".encode()
            self._lost = 0
        self._writing = self._loop.run_in_executor(self._threads, self.file.write, data)
        self._writing.add_done_callback(lambda done: self._written(done, count))

    def _written(self, done: asyncio.Future[None], count: int) -> None:
        self._writing = None
        self._done += count
        error = done.exception() if not done.cancelled() else None
        if error is not None:
            self._report(str(error))
        else:
            self._failure = ""
        self._discards = False
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
            if not self._ended:
                self._loop.add_reader(self.pipe.reader, self._read)
        if self._backlog or self._lost:
            self._write()
        elif self._ended:
            self._finish()

    def _report(self, failure: str) -> None:
        if failure != self._failure:
            log.warning("output of '%s' is lost: %s", self.pipe.record.domain, failure)
        self._failure = failure

    def _stop_reading(self) -> None:
        self._loop.remove_reader(self.pipe.reader)
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _finish(self) -> None:
        self._close()
        self._on_end(self)

    def _close(self) -> None:
        os.close(self.pipe.reader)
        self.file.close()
