"""Logs the progress of long operations every few seconds, with the request's trace.

Owns: those log lines. May touch, to read: /proc/PID/io of stord's child processes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conf.types.size import MIB

INTERVAL_S: Final = 5.0

_operation: ContextVar[str] = ContextVar("doing", default="")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IoBytes:
    """Bytes that a process has read and written."""

    read: int
    written: int


@contextmanager
def operation(description: str) -> Iterator[None]:
    """Name the body's operation in progress lines: "wipe of volume 'a' of pool 'p'"."""
    token = _operation.set(description)
    try:
        yield
    finally:
        _operation.reset(token)


@contextmanager
def log_io(pid: int, interval_s: float = INTERVAL_S) -> Iterator[None]:
    """Log a process's I/O while the body waits for it; silent outside of `operation`."""
    description = _operation.get()
    task = (
        asyncio.create_task(_log_until_exit(description, pid, interval_s)) if description else None
    )
    try:
        yield
    finally:
        if task is not None:
            task.cancel()


async def _log_until_exit(description: str, pid: int, interval_s: float) -> None:
    started = time.monotonic()
    await asyncio.sleep(interval_s)
    while (io := io_bytes(pid)) is not None:
        log.info(
            "%s: %d MiB read and %d MiB written in %.0f s",
            description,
            io.read // MIB,
            io.written // MIB,
            time.monotonic() - started,
        )
        await asyncio.sleep(interval_s)


def io_bytes(pid: int) -> IoBytes | None:
    """Read a process's I/O counters; None once it has exited."""
    try:
        lines = Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    counts = dict(line.split(": ", 1) for line in lines)
    return IoBytes(int(counts.get("rchar", 0)), int(counts.get("wchar", 0)))
