"""Messages that change the processors, threads and memory of a running guest.

Owns: their fields. Sender: domd. Receiver: a QEMU domain's worker.
The reply has the new live XML; no `StatusChanged` is sent for it.
"""

from __future__ import annotations

from enum import StrEnum

from ipc import Ack, Request
from supervisor.messages.worker import DomainStatus

#: A guest may take 5 s to release a vcpu, or never do; vcpus are unplugged one after the other.
UNPLUG_DEADLINE_S = 60.0


class SetVcpuCount(Request[DomainStatus], frozen=True, kw_only=True, tag="worker.set_vcpu_count"):
    """Plug or unplug vcpus until the guest has this many.

    Errors: CONFIG_UNSUPPORTED: no set of vcpus leads there; OPERATION_TIMEOUT: the guest does not
    release one (it may do so later: the XML follows); OPERATION_FAILED: it refuses; those of QEMU.
    """

    deadline_s = UNPLUG_DEADLINE_S
    count: int


class SetVcpus(Request[DomainStatus], frozen=True, kw_only=True, tag="worker.set_vcpus"):
    """Plug or unplug one vcpu, with those that come and go with it.

    Errors: as `SetVcpuCount`; INVALID_ARG: it is in that state; OPERATION_UNSUPPORTED.
    """

    deadline_s = UNPLUG_DEADLINE_S
    numbers: list[int]
    enabled: bool


class SetAgentVcpus(Request[Ack], frozen=True, kw_only=True, tag="worker.set_agent_vcpus"):
    """Have the guest's agent use this many of the processors that the guest has.

    Errors: INTERNAL_ERROR: it cannot; those of the agent.
    """

    deadline_s = 45.0  # above that of the agent's two commands
    count: int


class Threads(StrEnum):
    """Threads of an emulator that are pinned apart from the others."""

    VCPU = "vcpu"
    EMULATOR = "emulator"
    IOTHREAD = "iothread"


class PinThreads(Request[DomainStatus], frozen=True, kw_only=True, tag="worker.pin_threads"):
    """Let threads run on these of the host's CPUs alone.

    Errors: SYSTEM_ERROR: the kernel refuses; nothing has changed then.
    """

    deadline_s = 15.0
    threads: Threads
    number: int = 0  # the vcpu, or the iothread's id
    cpuset: str


class SetBalloon(Request[DomainStatus], frozen=True, kw_only=True, tag="worker.set_balloon"):
    """Ask the guest to give memory back until it has this much; it takes its time, or ignores it.

    Errors: OPERATION_INVALID: it has no balloon; those of QEMU.
    """

    deadline_s = 15.0
    kib: int


class SetBalloonPeriod(
    Request[DomainStatus], frozen=True, kw_only=True, tag="worker.set_balloon_period"
):
    """Have the balloon driver report every so many seconds; 0: no more.

    Errors: INTERNAL_ERROR: there is no balloon; those of QEMU.
    """

    deadline_s = 15.0
    seconds: int


class AddIothread(Request[DomainStatus], frozen=True, kw_only=True, tag="worker.add_iothread"):
    """Start an iothread.

    Errors: INVALID_ARG: there is one of the id; those of QEMU.
    """

    deadline_s = 15.0
    id: int


class RemoveIothread(
    Request[DomainStatus], frozen=True, kw_only=True, tag="worker.remove_iothread"
):
    """End an iothread.

    Errors: INVALID_ARG: there is none of the id, or a disk or controller uses it; those of QEMU.
    """

    deadline_s = 15.0
    id: int


class SetIothread(Request[DomainStatus], frozen=True, kw_only=True, tag="worker.set_iothread"):
    """Set how an iothread polls, and the size of its thread pool; None stays as it is.

    Errors: INVALID_ARG: there is none of the id; OPERATION_INVALID: sizes that contradict each
    other; those of QEMU.
    """

    deadline_s = 15.0
    id: int
    poll_max_ns: int | None = None
    poll_grow: int | None = None
    poll_shrink: int | None = None
    thread_pool_min: int | None = None
    thread_pool_max: int | None = None
