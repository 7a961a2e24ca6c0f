"""A guest's stream into a file and out of one, through a pipe, a thread and perhaps a packer.

Owns: the pipes, and the end of thread and packer with them. May touch: the files it is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.images.save_image import Compression
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.migration.copying import (
    BUFFER,
    CopyStopped,
    file_to_pipe,
    pipe_to_file,
)
from supervisor.workers.qemu.migration.guest_job import refuse_aborted
from supervisor.workers.qemu.migration.packing import Packer, Packing, pack, unpack
from supervisor.workers.qemu.migration.stream import load_from_fd
from supervisor.workers.qemu.migration.target_file import TargetFile

STOPPED_S: Final = 10.0  # for a thread to end that waits for a disk

R = TypeVar("R")


@dataclass(slots=True)
class _Pipe:
    """A pipe with a large buffer; each end is closed once."""

    ends: list[int] = field(default_factory=list)

    @staticmethod
    def open() -> _Pipe:
        ends = list(os.pipe2(os.O_CLOEXEC))
        with contextlib.suppress(OSError):  # above the user's limit: it stays at 64 KiB
            fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, BUFFER)
        return _Pipe(ends)

    @property
    def reader(self) -> int:
        return self.ends[0]

    @property
    def writer(self) -> int:
        return self.ends[1]

    def close(self, index: int) -> None:
        if self.ends[index] >= 0:
            os.close(self.ends[index])
            self.ends[index] = -1

    def close_all(self) -> None:
        self.close(0)
        self.close(1)


#: Has QEMU write its stream to a descriptor.
Produce = Callable[[int], Coroutine[Any, Any, None]]


async def write_to_file(
    guest: Guest, target: TargetFile, head: bytes, packing: Packing, produce: Produce
) -> None:
    """Write a head and what QEMU makes of its guest to a file, and have it on disk.

    Args:
        guest: the guest.
        target: the file.
        head: what precedes the stream.
        packing: of the stream.
        produce: has QEMU write it to a pipe.

    Raises:
        VirError: the guest can go on; the file is of no use.
    """
    async with AsyncExitStack() as closing:
        stream = _Pipe.open()
        closing.callback(stream.close_all)
        source = stream
        if packing.program:
            source = _Pipe.open()
            closing.callback(source.close_all)
            packer = await pack(packing, stream.reader, source.writer)
            closing.push_async_callback(packer.kill)
            stream.close(0)
            source.close(1)
        else:
            packer = None
        copying = await closing.enter_async_context(
            in_thread(
                lambda stop: pipe_to_file(
                    source.reader, target.fd, head, direct=target.direct, stop=stop
                )
            )
        )
        migrating = asyncio.create_task(produce(stream.writer))
        await _both(guest, migrating, copying, target.path, stream)
        if packer is not None:
            await packer.wait()
        try:
            await asyncio.to_thread(os.fdatasync, target.fd)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EROFS):  # a pipe or /dev/null has none
                raise _write_error(target.path, error) from error


async def _both(
    guest: Guest,
    migrating: asyncio.Task[None],
    copying: asyncio.Task[int],
    path: str,
    stream: _Pipe,
) -> None:
    """Wait for QEMU's end of the stream, then for the file's; whichever fails first ends both.

    A disk that does not answer holds up neither an abort nor the guest.
    """
    aborted = asyncio.create_task(guest.job_aborted.wait())
    try:
        await asyncio.wait({migrating, copying}, return_when=asyncio.FIRST_COMPLETED)
        if not copying.done():
            await migrating
            stream.close(1)  # with QEMU's copy of it, that is the end of the file
            await asyncio.wait({copying, aborted}, return_when=asyncio.FIRST_COMPLETED)
        if not copying.done():
            refuse_aborted(guest)
        await copying
    except OSError as error:
        raise _write_error(path, error) from error
    finally:
        aborted.cancel()
        # QEMU, which waits for a pipe that nobody reads, gets EPIPE.
        stream.close(0)
        if not migrating.done():
            migrating.cancel()
        await asyncio.wait({migrating, aborted})
        if not migrating.cancelled():
            migrating.exception()


def _write_error(path: str, error: OSError) -> VirError:
    detail = f"unable to write to '{path}': {error.strerror or error}"
    return VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.QEMU, int1=error.errno or -1)


async def load_from_file(guest: Guest, fd: int, compression: Compression, *, direct: bool) -> None:
    """Load a guest's stream from a file.

    Args:
        guest: a QEMU that waits for it.
        fd: the file, at the stream's begin; it stays the caller's.
        compression: of the stream.
        direct: read past the page cache.

    Raises:
        VirError: OPERATION_FAILED: the stream cannot be read or loaded.
    """
    async with AsyncExitStack() as closing:
        source = fd
        if direct:
            source = await closing.enter_async_context(_reading_past_cache(fd))
        if compression is Compression.RAW:
            await load_from_fd(guest, source)
            return
        unpacked = _Pipe.open()
        closing.callback(unpacked.close_all)
        packer = await unpack(compression, source, unpacked.writer)
        closing.push_async_callback(packer.kill)
        unpacked.close(1)
        await _load_unpacked(guest, unpacked, packer)


async def _load_unpacked(guest: Guest, unpacked: _Pipe, packer: Packer) -> None:
    loading = asyncio.create_task(load_from_fd(guest, unpacked.reader))
    unpacking = asyncio.create_task(packer.wait())
    try:
        await asyncio.wait({loading, unpacking}, return_when=asyncio.FIRST_COMPLETED)
        if unpacking.done() and unpacking.exception() is not None:
            await unpacking  # QEMU would wait for the rest of the stream
        await loading
    finally:
        for task in (loading, unpacking):
            task.cancel()
        await asyncio.wait({loading, unpacking})
        for task in (loading, unpacking):
            if not task.cancelled():
                task.exception()


@asynccontextmanager
async def _reading_past_cache(fd: int) -> AsyncIterator[int]:
    """Make a pipe of a file's contents from its position on, read with O_DIRECT."""
    offset = os.lseek(fd, 0, os.SEEK_CUR)
    pipe = _Pipe.open()
    with ExitStack() as closing:
        closing.callback(pipe.close_all)
        os.set_blocking(pipe.writer, False)  # a QEMU that hangs does not hold the thread
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        try:
            fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_DIRECT)
        except OSError as error:
            detail = "bypass cache unsupported by this system"
            raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.QEMU) from error

        def copy(stop: int) -> None:
            try:
                file_to_pipe(fd, offset, pipe.writer, direct=True, stop=stop)
            finally:
                pipe.close(1)  # the end of the file, for QEMU

        async with in_thread(copy):
            yield pipe.reader


@asynccontextmanager
async def in_thread(work: Callable[[int], R]) -> AsyncIterator[asyncio.Task[R]]:
    """Run blocking work beside the body; it is stopped when the body ends.

    Args:
        work: gets a descriptor that becomes readable when it is to stop.
    """
    stop, stopper = os.pipe2(os.O_CLOEXEC)
    task = asyncio.create_task(asyncio.to_thread(work, stop))
    try:
        yield task
    finally:
        os.close(stopper)  # the other end becomes readable
        await asyncio.wait({task}, timeout=STOPPED_S)
        if task.done():
            os.close(stop)
            with contextlib.suppress(CopyStopped, OSError, asyncio.CancelledError):
                task.result()
        # else: a disk that does not answer holds the thread, and the descriptors that it uses.
