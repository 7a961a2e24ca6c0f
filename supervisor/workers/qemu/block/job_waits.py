"""Waiting for QEMU's jobs: those that a worker starts and waits for, and the ends of block jobs.

Owns: who waits for which job. Pure but for the futures. May not touch: QEMU.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

#: Statuses of a job that a waiter is told of (JobStatus).
CONCLUDED = "concluded"


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How a block job ended."""

    outcome: int  # virConnectDomainEventBlockJobStatus
    error: str = ""


@dataclass(slots=True)
class JobWaits:
    """The waits of one guest."""

    _concluded: dict[str, asyncio.Event] = field(default_factory=dict)
    _ends: dict[str, list[asyncio.Future[JobEnd]]] = field(default_factory=dict)

    def expect(self, job: str) -> asyncio.Event:
        """Return what is set when a job has concluded; before the job is started."""
        return self._concluded.setdefault(job, asyncio.Event())

    def forget(self, job: str) -> None:
        """Wait for a job no more."""
        self._concluded.pop(job, None)

    def on_status(self, job: str, status: str) -> None:
        """Handle QEMU's JOB_STATUS_CHANGE."""
        event = self._concluded.get(job)
        if event is not None and status == CONCLUDED:
            event.set()

    def end_of(self, job: str) -> asyncio.Future[JobEnd]:
        """Return a future for the end of a block job, once the live XML has it."""
        future: asyncio.Future[JobEnd] = asyncio.get_running_loop().create_future()
        self._ends.setdefault(job, []).append(future)
        return future

    def ended(self, job: str, end: JobEnd) -> None:
        """Tell those who wait for the end of a block job."""
        for future in self._ends.pop(job, ()):
            if not future.done():
                future.set_result(end)
