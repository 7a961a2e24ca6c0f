"""Moves a guest's threads to groups of their own.

Owns: which thread is in which group. May touch: cgroups, through `guest_cgroup`.
"""

from __future__ import annotations

from supervisor.workers.qemu.cgroup.guest_cgroup import iothread_name, vcpu_name
from supervisor.workers.qemu.cgroup.settings import thread_limits
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.resctrl.groups import add_vcpu


def place_threads(guest: Guest, vcpus: dict[int, int], iothreads: dict[int, int]) -> None:
    """Move threads of vCPUs and I/O threads to groups of their own, with what <cputune> sets there.

    Args:
        guest: whose threads they are.
        vcpus: thread ids by the number of the vCPU.
        iothreads: thread ids by the id in the XML.

    Raises:
        VirError: SYSTEM_ERROR: the kernel refuses.
    """
    cgroup = guest.cgroup
    if len(set(vcpus.values())) < len(vcpus):
        vcpus = {}  # one thread emulates them all: they share the emulator's group
    named = {vcpu_name(number): tid for number, tid in vcpus.items()}
    named |= {iothread_name(number): tid for number, tid in iothreads.items()}
    v1_controllers = cgroup.group.layout.v1_controllers
    tune, machine = guest.domain.cputune, guest.machine
    for number, tid in vcpus.items():
        add_vcpu(tune, machine, number, tid)
    for name, tid in named.items():
        limits = thread_limits(guest.domain, name, v1_controllers, cgroup.has_threads)
        cgroup.add_thread(name, tid, limits)
