"""QEMU's threads: which there are, and which of them are vCPUs and iothreads.

Owns: that no thread of another process is taken for QEMU's. May touch: /proc; QEMU, by queries.
May not touch: the threads.

QEMU names its threads by number, and the worker, which is root, moves them to cgroups, pins and
schedules them. A guest that has broken into its QEMU could name any thread of the host.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.qmp.replies import CpuInfoFast, IOThreadInfo

log = logging.getLogger(__name__)


def thread_ids(pid: int) -> list[int]:
    """List the thread ids of a process."""
    with contextlib.suppress(OSError):
        return [int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()]
    return []


def threads_by_vcpu(guest: Guest, cpus: Iterable[CpuInfoFast]) -> dict[int, int]:
    """Return the threads of vCPUs; QEMU's index is the number of the place, whatever came first."""
    ordered = sorted(cpus, key=lambda cpu: cpu.cpu_index)
    return _own_threads(guest, {cpu.cpu_index: cpu.thread_id for cpu in ordered})


async def vcpu_threads(guest: Guest) -> dict[int, int]:
    """Return the threads of the vCPUs that are plugged; they change with these alone."""
    if not guest.vcpu_threads:
        guest.vcpu_threads = threads_by_vcpu(
            guest, await guest.monitor.query("query-cpus-fast", list[CpuInfoFast])
        )
    return guest.vcpu_threads


async def iothread_threads(guest: Guest) -> dict[int, int]:
    """Query the threads of the iothreads, by their ids in the XML."""
    infos = await guest.monitor.query("query-iothreads", list[IOThreadInfo])
    numbers = {info.id.removeprefix("iothread"): info.thread_id for info in infos}
    # <qemu:commandline> can make others.
    return _own_threads(guest, {int(no): tid for no, tid in numbers.items() if no.isdecimal()})


def _own_threads(guest: Guest, threads: Mapping[int, int]) -> dict[int, int]:
    """Leave out what is no thread of QEMU's, which is logged; it may also have ended meanwhile."""
    present = frozenset(thread_ids(guest.process.pid))
    foreign = sorted({*threads.values()} - present)
    if foreign:
        log.warning("%s: QEMU names threads that are not its own: %s", guest.name, foreign)
    return {number: thread for number, thread in threads.items() if thread in present}
