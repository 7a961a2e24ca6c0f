"""The CPU time of a QEMU, as its group counts it.

Owns: reading it. May touch: the guest's groups and /proc, to read.
Source: libvirt 9.0, qemuDomainGetCPUStats, virCgroupGetPercpuStats.
"""

from __future__ import annotations

from supervisor.runtime.procfs import cpu_times
from supervisor.workers.cgroups import readings
from supervisor.workers.cgroups.readings import GroupCpuTimes
from supervisor.workers.qemu.cgroup.guest_cgroup import VCPU
from supervisor.workers.qemu.guest import Guest


def guest_cpu_times(guest: Guest) -> GroupCpuTimes:
    """Read the CPU time of QEMU and of what it has started; without a group QEMU's alone."""
    if guest.cgroup.exists:
        return readings.cpu_times(guest.cgroup.group)
    times = cpu_times(guest.process.pid)
    return GroupCpuTimes(times.total, times.user, times.system)


def guest_percpu_times(guest: Guest) -> dict[str, list[int]]:
    """Read the CPU time on each CPU of the host: of the guest, and of its vCPUs; none: not counted.

    Raises:
        VirError: SYSTEM_ERROR.
    """
    cgroup = guest.cgroup
    times = readings.percpu_times(cgroup.group) if cgroup.exists else []
    if not times:
        return {}
    vcpus = [cgroup.thread(name) for name in cgroup.thread_names() if name.startswith(VCPU)]
    if not vcpus:
        return {"cpu_time": times}
    counted = [readings.percpu_times(group) for group in vcpus]
    return {"cpu_time": times, "vcpu_time": [sum(each) for each in zip(*counted, strict=True)]}
