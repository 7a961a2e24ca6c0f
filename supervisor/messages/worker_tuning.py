"""Messages that change how a running guest uses the host: disks' limits, memory nodes, counters.

Owns: their fields. Sender: domd. Receiver: a QEMU domain's worker.
A reply of `DomainStatus` has the new live XML; no `StatusChanged` is sent for it.
"""

from __future__ import annotations

from ipc import Request
from supervisor.messages.worker import DomainStatus, Stats, StatsParam


class SetIotune(Request[DomainStatus], frozen=True, kw_only=True, tag="worker.set_iotune"):
    """Set the I/O limits of a disk; those of a group hold for all of its disks.

    Errors: INVALID_ARG: there is no such disk; CONFIG_UNSUPPORTED: a burst below the limit; those
    of QEMU. Nothing has changed then.
    """

    deadline_s = 30.0
    path: str  # the disk's target or source
    values: dict[str, int | str]  # by libvirt's parameter names; 0 is no limit
    tunable: tuple[StatsParam, ...]  # of the TUNABLE event that follows


class GetIotune(Request[Stats], frozen=True, kw_only=True, tag="worker.get_iotune"):
    """Query the I/O limits that QEMU keeps a disk to, by libvirt's parameter names.

    Errors: INVALID_ARG: there is no such disk; INTERNAL_ERROR: it has no medium; those of QEMU.
    """

    deadline_s = 30.0
    path: str


class SetPerfEvents(Request[DomainStatus], frozen=True, kw_only=True, tag="worker.set_perf_events"):
    """Count events of the host's for the guest, or no longer.

    Errors: ARGUMENT_UNSUPPORTED, SYSTEM_ERROR: the host does not count one; nothing has changed.
    """

    deadline_s = 15.0
    events: dict[str, bool]  # by libvirt's names: whether it is counted
