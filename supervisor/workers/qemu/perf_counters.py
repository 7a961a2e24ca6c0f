"""PerfCounters: counts of the host's events for the threads of one QEMU.

Owns: the counters' descriptors. May touch: /sys, to read.
Source: libvirt 9.0, virPerfEventEnable, virPerfReadEvent.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from conf.domain.security import PERF_EVENTS
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.runtime.perf_events import HARDWARE, SOFTWARE, open_counter, read_counter

CACHE_MONITOR: Final = Path("/sys/devices/intel_cqm")
#: The kernel's type and number of each event; those of the cache monitor have the type of a file.
CACHE_EVENTS: Final = {"cmt": 1, "mbmt": 2, "mbml": 3}
EVENTS: Final = {
    **{name: (HARDWARE, number) for number, name in enumerate(PERF_EVENTS[3:13])},
    **{name: (SOFTWARE, number) for number, name in enumerate(PERF_EVENTS[13:])},
}


class PerfCounters:
    """The counters of one QEMU, a descriptor for each of its threads; more follow by themselves."""

    def __init__(self) -> None:
        self._fds: dict[str, list[int]] = {}

    def enable(self, name: str, threads: Iterable[int]) -> None:
        """Count an event; one that is counted is left alone.

        Raises:
            VirError: ARGUMENT_UNSUPPORTED, SYSTEM_ERROR: the host does not count it.
        """
        if name in self._fds:
            return
        kind, config = _event(name)
        fds: list[int] = []
        try:
            for thread in threads:
                with contextlib.suppress(ProcessLookupError):  # threads come and go
                    fds.append(open_counter(kind, config, thread))
        except OSError as error:
            _close(fds)
            detail = f"unable to open host cpu perf event for {name}: {error.strerror}"
            raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.PERF) from error
        self._fds[name] = fds

    @property
    def is_counting(self) -> bool:
        """Whether any event is counted."""
        return bool(self._fds)

    def counts(self, name: str) -> bool:
        """Return whether an event is counted."""
        return name in self._fds

    def disable(self, name: str) -> None:
        """Count an event no longer."""
        _close(self._fds.pop(name, []))

    def read(self) -> Iterator[tuple[str, int]]:
        """Read the counts, in libvirt's order of the events."""
        for name in PERF_EVENTS:
            if name in self._fds:
                yield name, sum(read_counter(fd) for fd in self._fds[name]) * _scale(name)

    def close(self) -> None:
        """Close every counter."""
        for name in list(self._fds):
            self.disable(name)


def _close(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)


def _event(name: str) -> tuple[int, int]:
    """Look up an event's type and number.

    Raises:
        VirError: ARGUMENT_UNSUPPORTED: the host's processor has no monitor of its caches.
    """
    if name in EVENTS:
        return EVENTS[name]
    try:
        return int((CACHE_MONITOR / "type").read_text()), CACHE_EVENTS[name]
    except (OSError, ValueError) as error:
        detail = f"unable to enable host cpu perf event for {name}"
        raise VirError(ErrorCode.ARGUMENT_UNSUPPORTED, detail, ErrorDomain.PERF) from error


def _scale(name: str) -> int:
    """Read the unit of the cache monitor's counts, in bytes."""
    if name == "cmt":
        with contextlib.suppress(OSError, ValueError):
            return int((CACHE_MONITOR / "events/llc_occupancy.scale").read_text())
    return 1
