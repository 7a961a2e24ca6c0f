"""Descriptor I/O of streams: reads and writes that do not block the loop.

Owns: one descriptor. A terminal, pipe or socket is polled; a plain file, which cannot be polled,
is read and written in a thread.
May not touch: the protocol.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Callable
from typing import Protocol

from rpc.streams import Hole
from supervisor.messages.sparse_stream import RECORD_HEADER, RecordType


class DescriptorIO(Protocol):
    """A descriptor of any kind."""

    async def read(self, size: int) -> bytes | Hole:
        """Read up to `size` bytes, or a hole; no bytes at the end."""

    async def write(self, data: bytes) -> None:
        """Write all of `data`."""

    async def skip(self, length: int) -> None:
        """Leave a hole of `length` bytes."""

    def close(self) -> None:
        """Close the descriptor."""


def open_descriptor(fd: int, *, sparse: bool = False) -> DescriptorIO:
    """Take the descriptor over by its file type; a sparse one carries records."""
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return FileIO(fd)
    os.set_blocking(fd, False)
    return SparseRecordIO(PollableIO(fd)) if sparse else PollableIO(fd)


class FileIO:
    """A regular file, always ready for poll(2): operations run in a thread, one at a time."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._busy = asyncio.Lock()
        self._working: asyncio.Task[int] | None = None  # outlives a cancelled wait

    async def read(self, size: int) -> bytes:
        """Read up to `size` bytes; none at the end."""
        buffer = bytearray(size)
        length = await self._work(lambda: os.readv(self._fd, [buffer]))
        return bytes(memoryview(buffer)[:length])

    async def write(self, data: bytes) -> None:
        """Write all of `data`."""
        await self._work(lambda: self._write_all(data))

    async def skip(self, length: int) -> None:
        """Leave a hole, at the end of the file too."""
        await self._work(lambda: self._skip(length))

    def close(self) -> None:
        """Close the file once no thread uses its descriptor: the number may be given out again."""
        if self._working is None or self._working.done():
            os.close(self._fd)
        else:
            self._working.add_done_callback(lambda _: os.close(self._fd))

    async def _work(self, work: Callable[[], int]) -> int:
        """Run in a thread, which runs on when the wait for it is cancelled."""
        async with self._busy:
            self._working = asyncio.create_task(asyncio.to_thread(work))
            return await asyncio.shield(self._working)

    def _write_all(self, data: bytes) -> int:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
        return len(data)

    def _skip(self, length: int) -> int:
        end = os.lseek(self._fd, length, os.SEEK_CUR)
        if end > os.fstat(self._fd).st_size:
            os.ftruncate(self._fd, end)
        return end


class PollableIO:
    """A terminal, pipe or socket."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._loop = asyncio.get_running_loop()

    async def read(self, size: int) -> bytes:
        """Read up to `size` bytes; none at the end, which a terminal reports as EIO."""
        while True:
            try:
                return os.read(self._fd, size)
            except BlockingIOError:
                await self._wait_readable()
            except OSError as error:
                if error.errno in (errno.EIO, errno.ECONNRESET):
                    return b""
                raise

    async def write(self, data: bytes) -> None:
        """Write all of `data`."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                await self._wait_writable()

    async def skip(self, length: int) -> None:
        """Refuse: only a file has holes."""
        raise OSError(errno.ESPIPE, f"a hole of {length} bytes in a stream that is not a file")

    def close(self) -> None:
        """Close the descriptor."""
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        os.close(self._fd)

    async def _wait_readable(self) -> None:
        ready = self._loop.create_future()
        self._loop.add_reader(self._fd, resolve, ready)
        try:
            await ready
        finally:
            self._loop.remove_reader(self._fd)

    async def _wait_writable(self) -> None:
        ready = self._loop.create_future()
        self._loop.add_writer(self._fd, resolve, ready)
        try:
            await ready
        finally:
            self._loop.remove_writer(self._fd)


class SparseRecordIO:
    """A socket that carries records of data and holes (`supervisor.messages.sparse_stream`)."""

    def __init__(self, polled: PollableIO) -> None:
        self._polled = polled
        self._left = 0  # bytes of the data record that is being read

    async def read(self, size: int) -> bytes | Hole:
        """Read up to `size` bytes of a data record, or a hole; no bytes at the end."""
        while not self._left:
            header = await self._header()
            if not header:
                return b""
            kind, length = RECORD_HEADER.unpack(header)
            if kind == RecordType.HOLE and length:
                return Hole(length)
            self._left = length
        data = await self._polled.read(min(size, self._left))
        if not data:
            raise truncated()
        self._left -= len(data)
        return data

    async def write(self, data: bytes) -> None:
        """Write a data record."""
        await self._polled.write(RECORD_HEADER.pack(RecordType.DATA, len(data)))
        await self._polled.write(data)

    async def skip(self, length: int) -> None:
        """Write a hole."""
        await self._polled.write(RECORD_HEADER.pack(RecordType.HOLE, length))

    def close(self) -> None:
        """Close the descriptor."""
        self._polled.close()

    async def _header(self) -> bytes:
        """Read a record's header; no bytes at the end."""
        header = b""
        while len(header) < RECORD_HEADER.size:
            more = await self._polled.read(RECORD_HEADER.size - len(header))
            if not more:
                if header:
                    raise truncated()
                return b""
            header += more
        return header


def truncated() -> OSError:
    """Make EIO: the service's side of a sparse stream ended inside a record."""
    return OSError(errno.EIO, "the stream ended inside a record")


def resolve(ready: asyncio.Future[None]) -> None:
    """Resolve a future, unless the wait was cancelled."""
    if not ready.done():
        ready.set_result(None)
