"""virDomainStartDirtyRateCalc: QEMU measures how fast the guest writes to its memory.

Owns: nothing; what was measured is among the statistics. May touch: QEMU, by QMP.
Source: libvirt 9.0, qemuDomainStartDirtyRateCalc; QEMU 7.2, calc-dirty-rate.
"""

from __future__ import annotations

from rpc.enums import DomainDirtyRateCalcFlags as Flags
from rpc.values import Domain as DomainId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.drivers.qemu import QEMU
from supervisor.workers.qemu.guest import GuestProvider


class DirtyRateCalls:
    """The call."""

    def __init__(self, worker: GuestProvider) -> None:
        self._worker = worker

    async def domain_start_dirty_rate_calc(
        self, call: ClientCall, dom: DomainId, seconds: int, flags: int
    ) -> None:
        """Measure for some seconds, by sampling pages unless the flags say how.

        Raises:
            VirError: OPERATION_UNSUPPORTED: the machine has no dirty ring; INTERNAL_ERROR: QEMU
                measures already.
        """
        guest = self._worker.guest()
        features = guest.domain.features
        ring = features.kvm.dirty_ring if features and features.kvm else None
        has_ring = ring is not None and bool(ring.state)
        if flags & Flags.DIRTY_RING and not has_ring:
            detail = "dirty-ring calculation mode requires dirty-ring feature enabled."
            raise QEMU.errors.operation_unsupported(detail)
        if flags & Flags.DIRTY_BITMAP and has_ring:
            detail = "dirty-bitmap calculation mode requires dirty-ring feature disabled."
            raise QEMU.errors.operation_unsupported(detail)
        mode = "page-sampling"
        if flags & Flags.DIRTY_RING:
            mode = "dirty-ring"
        elif flags & Flags.DIRTY_BITMAP:
            mode = "dirty-bitmap"
        arguments = {"calc-time": seconds, "mode": mode}
        await guest.monitor.execute("calc-dirty-rate", arguments)
