"""<cputune>: CPU affinity and scheduling policy of QEMU's threads.

Owns: those. May touch: QEMU's threads. May not touch: cgroups (`cgroup.guest_cgroup`).
Source: libvirt 9.0 formatdomain, "CPU Tuning".
"""

from __future__ import annotations

import logging
import os
from typing import Final

from conf.domain import Domain
from conf.domain.tuning import Cputune
from conf.types.cpuset import parse_cpuset
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers.qemu.threads import thread_ids

POLICIES: Final = {
    "batch": os.SCHED_BATCH,
    "idle": os.SCHED_IDLE,
    "fifo": os.SCHED_FIFO,
    "rr": os.SCHED_RR,
}

log = logging.getLogger(__name__)


def needs_thread_ids(domain: Domain) -> bool:
    """Return whether QEMU must be asked for the ids of its vCPU threads."""
    tune = domain.cputune
    pinned = domain.vcpu is not None and domain.vcpu.cpuset is not None
    return pinned or tune is not None


def apply_cputune(domain: Domain, pid: int, vcpus: list[int], iothreads: dict[int, int]) -> None:
    """Set affinity and scheduling as the XML says.

    Args:
        domain: the live XML.
        pid: QEMU's process, and its main thread.
        vcpus: the vCPUs' threads, in their order.
        iothreads: threads by their id in the XML.

    Raises:
        VirError: SYSTEM_ERROR: the host has no such CPU, or refuses the policy.
    """
    try:
        _apply(domain, pid, vcpus, iothreads)
    except OSError as error:
        detail = f"cannot set CPU affinity or scheduling of '{domain.name}': {error}"
        raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.QEMU) from error


def _apply(domain: Domain, pid: int, vcpus: list[int], iothreads: dict[int, int]) -> None:
    tune = domain.cputune or Cputune()
    default = domain.vcpu.cpuset if domain.vcpu else None
    emulator = tune.emulatorpin or default
    if emulator is not None:
        pinned = {*vcpus, *iothreads.values()}
        # QEMU's main loop and its workers: all threads that are neither vCPUs nor iothreads.
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
