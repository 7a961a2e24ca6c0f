"""How far what takes long has come: a line in the log every few seconds, with the request's trace.

Owns: those lines. May touch: /proc, to read what the processes of this daemon have moved.
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

TOLD_S: Final = 5.0
MIB: Final = 1024 * 1024

_doing: ContextVar[str] = ContextVar("doing", default="")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Moved:
    """What a process has moved, in bytes."""

    read: int
    written: int


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Name what the body does, for the lines on its progress: "volume 'a' is being wiped"."""
    token = _doing.set(what)
    try:
        yield
    finally:
        _doing.reset(token)


@contextmanager
def followed(pid: int, every_s: float = TOLD_S) -> Iterator[None]:
    """While the body waits for a process, tell how far it has come; nothing if nobody named it."""
    what = _doing.get()
    telling = asyncio.create_task(_tell(what, pid, every_s)) if what else None
    try:
        yield
    finally:
        if telling is not None:
            telling.cancel()


async def _tell(what: str, pid: int, every_s: float) -> None:
    began = time.monotonic()
    await asyncio.sleep(every_s)
    while (moved := moved_by(pid)) is not None:
        log.info(
            "%s: %d MiB read and %d MiB written in %.0f s",
            what,
            moved.read // MIB,
            moved.written // MIB,
            time.monotonic() - began,
        )
        await asyncio.sleep(every_s)


def moved_by(pid: int) -> Moved | None:
    """What a process has moved so far; None: it has gone."""
    try:
        lines = Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    counts = dict(line.split(": ", 1) for line in lines)
    return Moved(int(counts.get("rchar", 0)), int(counts.get("wchar", 0)))
