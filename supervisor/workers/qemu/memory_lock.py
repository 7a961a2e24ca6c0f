"""How much memory QEMU may lock (RLIMIT_MEMLOCK), at its start and while it runs.

Owns: that limit. May touch: the limit of a running QEMU.
Source: libvirt 9.0, qemuDomainGetMemLockLimitBytes, qemuDomainAdjustMaxMemLock.
"""

from __future__ import annotations

import resource
from typing import Final

from conf.domain import Domain
from conf.types.size import KIB
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers.cgroups.limits import UNLIMITED_KIB

VFIO_KIB: Final = 1 << 20  # for the devices' own memory: libvirt's guess


def memory_lock(domain: Domain) -> dict[int, int]:
    """Return how much memory QEMU may lock, in bytes, as a resource limit; none: as the daemon."""
    backing, tune = domain.memory_backing, domain.memtune
    limit = tune.hard_limit.amount if tune is not None and tune.hard_limit is not None else None
    if limit is not None and limit < UNLIMITED_KIB:
        return {resource.RLIMIT_MEMLOCK: limit * KIB}
    if backing is not None and backing.locked:
        return {resource.RLIMIT_MEMLOCK: resource.RLIM_INFINITY}
    if any(hostdev.type == "pci" for hostdev in domain.devices.hostdevs):
        # VFIO pins the guest's memory beside the devices' own.
        top = domain.max_memory.amount if domain.max_memory else domain.memory
        return {resource.RLIMIT_MEMLOCK: (top + VFIO_KIB) * KIB}
    return {}


def raise_memory_lock(pid: int, domain: Domain) -> None:
    """Let a running QEMU lock what a device needs that is about to be attached.

    Args:
        pid: QEMU's.
        domain: with the device.

    Raises:
        VirError: SYSTEM_ERROR: this daemon may not raise the limit.
    """
    wanted = memory_lock(domain).get(resource.RLIMIT_MEMLOCK)
    if wanted is None:
        return
    try:
        now, _ = resource.prlimit(pid, resource.RLIMIT_MEMLOCK)
        if not _is_less(now, wanted):
            return
        resource.prlimit(pid, resource.RLIMIT_MEMLOCK, (wanted, wanted))
    except (OSError, ValueError) as error:
        detail = f"cannot limit locked memory of process {pid} to {wanted}: {error}"
        raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.NONE) from error


def _is_less(limit: int, other: int) -> bool:
    if limit == resource.RLIM_INFINITY:
        return False
    return other == resource.RLIM_INFINITY or limit < other
