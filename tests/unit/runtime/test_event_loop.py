"""A loop whose unused memory was given back is a loop as any other."""

from __future__ import annotations

import asyncio
import ctypes
import mmap
from pathlib import Path

from supervisor.runtime.event_loop import give_back_zeros, new_event_loop

PRESENT = 1 << 63  # Linux, Documentation/admin-guide/mm/pagemap.rst


def pages_present(address: int, size: int) -> int:
    """Count the pages of this process's memory that are there."""
    with Path("/proc/self/pagemap").open("rb") as pagemap:
        pagemap.seek(address // mmap.PAGESIZE * 8)
        entries = pagemap.read(-(-size // mmap.PAGESIZE) * 8)
    words = (entries[place : place + 8] for place in range(0, len(entries), 8))
    return sum(bool(int.from_bytes(word, "little") & PRESENT) for word in words)


def test_most_of_a_new_loops_memory_is_given_back() -> None:
    loop = new_event_loop()
    try:
        assert pages_present(id(loop), type(loop).__basicsize__) < 8
    finally:
        loop.close()


def test_streams_of_the_loop_work_all_the_same() -> None:
    async def talk() -> bytes:
        child = await asyncio.create_subprocess_exec(
            "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        return (await child.communicate(b"x" * 300_000))[0]

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert runner.run(talk()) == b"x" * 300_000


def test_only_whole_pages_of_zeros_are_given_back() -> None:
    size = 8 * mmap.PAGESIZE
    buffer = ctypes.create_string_buffer(size)
    buffer[size // 2] = b"y"
    give_back_zeros(ctypes.addressof(buffer), size)
    assert buffer.raw.strip(b"\0") == b"y"
    assert buffer.raw.index(b"y") == size // 2
