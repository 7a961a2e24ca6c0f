"""Pins the threads of a running QEMU, and those of what is plugged into it.

Owns: their CPU affinity while the guest runs. May touch: QEMU's threads; QEMU, by QMP; cgroups,
through `cgroup`. May not touch: what a start does to the threads (`cputune`).
Source: libvirt 9.0, qemuDomainPinVcpuLive, qemuDomainPinEmulator, qemuDomainPinIOThread.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress

from conf.domain import Domain
from conf.domain.pins import check_vcpu_pin, pin_emulator, pin_iothread, pin_vcpu
from conf.domain.tuning import Cputune
from conf.types.cpuset import parse_cpuset
from rpc.enums import DomainEventID
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.params import String, params
from supervisor.messages.worker_resources import PinThreads, Threads
from supervisor.workers.qemu.cgroup.guest_cgroup import EMULATOR, iothread_name, vcpu_name
from supervisor.workers.qemu.cgroup.placement import in_thread
from supervisor.workers.qemu.cgroup.threads import place_threads
from supervisor.workers.qemu.cputune import POLICIES
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.threads import iothread_threads, thread_ids, vcpu_threads


async def pin_threads(guest: Guest, request: PinThreads) -> None:
    """Pin threads of the guest, and tell clients.

    Raises:
        VirError: SYSTEM_ERROR: the kernel refuses; QEMU does not reply.
    """
    domain, number, cpuset = guest.domain, request.number, request.cpuset
    match request.threads:
        case Threads.VCPU:
            # One that is not enabled has no thread: it is pinned when it is plugged.
            check_vcpu_pin(domain, number, "live")
            threads = await vcpu_threads(guest)
            if number in threads:
                if not is_shared(threads, number):
                    guest.cgroup.set_cpus(vcpu_name(number), cpuset)
                set_affinity([threads[number]], cpuset, domain.name)
            pin_vcpu(domain, number, cpuset)
            field = f"cputune.vcpupin{number}"
        case Threads.EMULATOR:
            others = await _emulator_threads(guest)
            guest.cgroup.set_cpus(EMULATOR, cpuset)
            set_affinity(others, cpuset, domain.name)
            pin_emulator(domain, cpuset)
            field = "cputune.emulatorpin"
        case Threads.IOTHREAD:
            thread = (await iothread_threads(guest)).get(number)
            if thread is None:
                detail = f"iothread {number} not found"
                raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.QEMU)
            guest.cgroup.set_cpus(iothread_name(number), cpuset)
            set_affinity([thread], cpuset, domain.name)
            pin_iothread(domain, number, cpuset)
            field = f"cputune.iothreadpin{number}"
    guest.update_xml({"cputune"})
    guest.publish_event(DomainEventID.TUNABLE, guest.identity, params({field: String(cpuset)}))


async def _emulator_threads(guest: Guest) -> list[int]:
    """List QEMU's threads that are neither vcpus nor iothreads."""
    others = {*(await vcpu_threads(guest)).values()}
    if guest.domain.iothread_list():
        others |= {*(await iothread_threads(guest)).values()}
    return [thread for thread in thread_ids(guest.process.pid) if thread not in others]


def set_affinity(threads: Iterable[int], cpuset: str, name: str) -> None:
    """Let threads run on these CPUs alone; if the kernel refuses one, none is changed.

    Raises:
        VirError: SYSTEM_ERROR.
    """
    cpus = parse_cpuset(cpuset)
    before: dict[int, set[int]] = {}
    try:
        for thread in threads:
            with suppress(ProcessLookupError):  # one of QEMU's workers, which come and go
                before[thread] = os.sched_getaffinity(thread)
                os.sched_setaffinity(thread, cpus)
    except OSError as error:
        for thread, previous in before.items():
            with suppress(OSError):
                os.sched_setaffinity(thread, previous)
        detail = f"cannot set CPU affinity of '{name}' to {cpuset}: {error.strerror}"
        raise VirError(
            ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.QEMU, int1=error.errno or -1
        ) from error


def is_shared(threads: Mapping[int, int], number: int) -> bool:
    """Return whether a vcpu's thread runs others, too: emulation can have one for them all."""
    return list(threads.values()).count(threads[number]) > 1


async def tune_vcpu(guest: Guest, number: int, threads: Mapping[int, int]) -> None:
    """Place, pin and schedule the thread of a vcpu that was just plugged, as the XML says.

    Raises:
        VirError: SYSTEM_ERROR: the kernel refuses.
    """
    domain, thread = guest.domain, threads[number]
    if not is_shared(threads, number):
        await in_thread(lambda: place_threads(guest, {number: thread}, {}))
    tune = domain.cputune or Cputune()
    pins = {pin.vcpu: pin.cpuset for pin in tune.vcpupins}
    _pin_new(domain, thread, pins.get(number))
    for sched in tune.vcpuscheds:
        if number in parse_cpuset(sched.vcpus):
            _schedule(domain.name, thread, sched.scheduler, sched.priority)


async def tune_iothread(guest: Guest, number: int, thread: int) -> None:
    """Place, pin and schedule the thread of an iothread just added. Raises as `tune_vcpu`."""
    domain = guest.domain
    await in_thread(lambda: place_threads(guest, {}, {number: thread}))
    tune = domain.cputune or Cputune()
    pins = {pin.iothread: pin.cpuset for pin in tune.iothreadpins}
    _pin_new(domain, thread, pins.get(number))
    for sched in tune.iothreadscheds:
        if number in parse_cpuset(sched.iothreads):
            _schedule(domain.name, thread, sched.scheduler, sched.priority)


def _pin_new(domain: Domain, thread: int, cpuset: str | None) -> None:
    """Pin a new thread, which has the affinity of the emulator's that made it."""
    default = domain.vcpu.cpuset if domain.vcpu else None
    chosen = cpuset or default
    if chosen is None and domain.cputune is not None and domain.cputune.emulatorpin:
        chosen = f"0-{(os.cpu_count() or 1) - 1}"
    if chosen is not None:
        set_affinity([thread], chosen, domain.name)


def _schedule(name: str, thread: int, policy: str, priority: int | None) -> None:
    try:
        os.sched_setscheduler(thread, POLICIES[policy], os.sched_param(priority or 0))
    except OSError as error:
        detail = f"cannot set the scheduling of '{name}' to {policy}: {error.strerror}"
        raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.QEMU) from error
