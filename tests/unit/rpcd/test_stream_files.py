"""A stream's file is given up only when no thread works on its number any more."""

from __future__ import annotations

import asyncio
import contextlib
import os

from supervisor.rpcd.streams.descriptor_io import FileIO

LARGE = 1 << 20  # more than a pipe takes at once: the writing thread blocks


async def drain(fd: int) -> int:
    """Read to the end; how many bytes there were."""
    total = 0
    while data := await asyncio.to_thread(os.read, fd, 1 << 16):
        total += len(data)
    return total


def test_a_running_write_keeps_its_descriptor_open_after_close() -> None:
    async def scenario() -> None:
        reading, writing = os.pipe()
        file = FileIO(writing)
        try:
            task = asyncio.create_task(file.write(bytes(LARGE)))
            assert len(await asyncio.to_thread(os.read, reading, 1)) == 1  # the thread is writing
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            file.close()
            os.fstat(writing)  # still open: nobody else can be given the number
            assert await drain(reading) == LARGE - 1  # all of it, and then the end: it is closed
        finally:
            os.close(reading)  # a thread that still writes ends with it

    asyncio.run(scenario())


def test_an_idle_file_is_closed_at_once() -> None:
    async def scenario() -> None:
        reading, writing = os.pipe()
        file = FileIO(writing)
        await file.write(b"all")
        file.close()
        assert os.read(reading, 9) == b"all"
        assert os.read(reading, 9) == b""
        os.close(reading)

    asyncio.run(scenario())
