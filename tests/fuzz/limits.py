"""Limits that hold for any input: processor time, and memory of the process.

Owns: both. May touch: the soft limit of this process's data.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

#: Of the largest input that a target makes; a slow machine takes three times as long as a fast one.
MAX_SECONDS: Final = 3.0
MAX_GROWTH: Final = 512 * 1024 * 1024  # bytes that one input may allocate at most


class TooExpensiveError(Exception):
    """An input takes more than its share of time."""


@contextmanager
def bounded_time(seconds: float = MAX_SECONDS) -> Iterator[None]:
    """Fail if the body takes more processor time: how busy the machine is does not count."""
    began = time.thread_time()
    yield
    taken = time.thread_time() - began
    if taken > seconds:
        raise TooExpensiveError(f"{taken:.1f} s of processor time")


@contextmanager
def bounded_memory() -> Iterator[None]:
    """Let allocations fail in the body that would make the process much larger."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = data_size() + MAX_GROWTH
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def data_size() -> int:
    """Return the bytes that RLIMIT_DATA counts."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmData")
