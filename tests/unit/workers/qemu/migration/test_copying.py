"""Streams between pipes and files: whole, of any length, and stopped at any time."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.workers.qemu.migration.copying import (
    ALIGNMENT,
    BUFFER,
    CopyStopped,
    file_to_pipe,
    pipe_to_file,
)

LENGTHS = st.one_of(
    st.integers(0, 3 * ALIGNMENT),
    st.sampled_from([BUFFER - 1, BUFFER, BUFFER + 1, 2 * BUFFER + 5]),
)


def feed(writer: int, data: bytes) -> threading.Thread:
    """Write to a pipe from a thread, and close it."""

    def write() -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(writer, left) :]
        os.close(writer)

    thread = threading.Thread(target=write)
    thread.start()
    return thread


def drain(reader: int) -> bytes:
    parts = []
    while part := os.read(reader, BUFFER):
        parts.append(part)
    os.close(reader)
    return b"".join(parts)


@settings(max_examples=25, deadline=None)
@given(LENGTHS, LENGTHS, st.booleans())
def test_a_file_has_its_head_and_the_stream(head: int, length: int, direct: bool) -> None:
    # Without O_DIRECT itself, which not every file system has: the writes are the same.
    folder = Path(os.environ.get("TMPDIR", "/tmp"))
    path = folder / f"vv-copying-{os.getpid()}"
    before, data = os.urandom(head), os.urandom(length)
    reader, writer = os.pipe()
    stop, stopper = os.pipe()
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        thread = feed(writer, data)
        assert pipe_to_file(reader, fd, before, direct=direct, stop=stop) == head + length
        thread.join()
        assert path.read_bytes() == before + data
    finally:
        for one in (reader, stop, stopper, fd):
            os.close(one)
        path.unlink()


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("offset", [0, 5, ALIGNMENT, BUFFER + 7])
def test_a_pipe_gets_a_file_from_an_offset_on(tmp_path: Path, offset: int, direct: bool) -> None:
    data = os.urandom(2 * BUFFER + 3)
    (tmp_path / "file").write_bytes(data)
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    reader, writer = os.pipe()
    stop, stopper = os.pipe()
    os.set_blocking(writer, False)

    def copy() -> None:
        file_to_pipe(fd, offset, writer, direct=direct, stop=stop)
        os.close(writer)

    thread = threading.Thread(target=copy)
    thread.start()
    assert drain(reader) == data[offset:]
    thread.join()
    for one in (fd, stop, stopper):
        os.close(one)


def test_a_copy_that_waits_for_its_pipe_is_stopped(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    stop, stopper = os.pipe()
    fd = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    os.close(stopper)
    with pytest.raises(CopyStopped):
        pipe_to_file(reader, fd, b"head", direct=False, stop=stop)
    for one in (reader, writer, stop, fd):
        os.close(one)


def test_a_full_disk_is_told() -> None:
    reader, writer = os.pipe()
    stop, stopper = os.pipe()
    fd = os.open("/dev/full", os.O_WRONLY)
    os.close(writer)
    with pytest.raises(OSError, match="No space left"):
        pipe_to_file(reader, fd, b"head", direct=False, stop=stop)
    for one in (reader, stop, stopper, fd):
        os.close(one)
