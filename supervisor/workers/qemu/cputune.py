"""<cputune>, <numatune> and their kin: what is done for threads of a guest, and what is refused.

Owns: which processors the emulator's threads run on, and their scheduling.
May touch: the emulator's threads. May not touch: cgroups; what only these can do is refused.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import Final

from conf.domain import Domain
from conf.domain.tuning import Cputune
from conf.types.cpuset import parse_cpuset
from rpc.errors import ErrorCode, ErrorDomain, VirError

POLICIES: Final = {
    "batch": os.SCHED_BATCH,
    "idle": os.SCHED_IDLE,
    "fifo": os.SCHED_FIFO,
    "rr": os.SCHED_RR,
}

log = logging.getLogger(__name__)


def needs_thread_ids(domain: Domain) -> bool:
    """Whether the kernel's numbers of the guest's threads are needed."""
    tune = domain.cputune
    pinned = domain.vcpu is not None and domain.vcpu.cpuset is not None
    return pinned or tune is not None


def apply_cputune(domain: Domain, pid: int, vcpus: list[int], iothreads: dict[int, int]) -> None:
    """Put threads where the document wants them.

    Args:
        domain: the document.
        pid: the emulator's main thread.
        vcpus: the processors' threads, in their order.
        iothreads: threads for disks, by their number in the document.

    Raises:
        VirError: SYSTEM_ERROR: the host has no such processor, or refuses.
    """
    try:
        _apply(domain, pid, vcpus, iothreads)
    except OSError as error:
        detail = f"threads of '{domain.name}' cannot be placed as the document says: {error}"
        raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.QEMU) from error


def _apply(domain: Domain, pid: int, vcpus: list[int], iothreads: dict[int, int]) -> None:
    tune = domain.cputune or Cputune()
    default = domain.vcpu.cpuset if domain.vcpu else None
    emulator = tune.emulatorpin or default
    if emulator is not None:
        pinned = {*vcpus, *iothreads.values()}
        for thread in thread_ids(pid):
            if thread not in pinned:
                _pin(thread, emulator)
    vcpupins = {pin.vcpu: pin.cpuset for pin in tune.vcpupins}
    for number, thread in enumerate(vcpus):
        _pin(thread, vcpupins.get(number, default))
    for io_pin in tune.iothreadpins:
        if io_pin.iothread in iothreads:
            _pin(iothreads[io_pin.iothread], io_pin.cpuset)
    _schedule_all(tune, pid, dict(enumerate(vcpus)), iothreads)


def _schedule_all(
    tune: Cputune, pid: int, vcpus: dict[int, int], iothreads: dict[int, int]
) -> None:
    for sched in tune.vcpuscheds:
        for number in parse_cpuset(sched.vcpus) & vcpus.keys():
            _schedule(vcpus[number], sched.scheduler, sched.priority)
    for io_sched in tune.iothreadscheds:
        for number in parse_cpuset(io_sched.iothreads) & iothreads.keys():
            _schedule(iothreads[number], io_sched.scheduler, io_sched.priority)
    if tune.emulatorsched is not None:
        _schedule(pid, tune.emulatorsched.scheduler, tune.emulatorsched.priority)


def _pin(thread: int, cpuset: str | None) -> None:
    if cpuset is not None:
        os.sched_setaffinity(thread, parse_cpuset(cpuset))


def _schedule(thread: int, policy: str, priority: int | None) -> None:
    os.sched_setscheduler(thread, POLICIES[policy], os.sched_param(priority or 0))


def thread_ids(pid: int) -> list[int]:
    """The kernel's numbers of a process's threads."""
    with contextlib.suppress(OSError):
        return [int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()]
    return []
