"""What domd asks of a guest's worker, and what the worker tells domd.

Owns: the messages' shapes. Sender of requests: domd. Receiver of events: domd.
Clients' own calls on a running guest go as `supervisor.messages.calls.ClientRequest`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ipc import Ack, Descriptor, Event, Request
from supervisor.messages.calls import ClientEvent
from supervisor.objects.job import JobRecord

NO_EVENT = -1


class DomainStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A guest as its worker drives it."""

    uuid: bytes
    name: str
    id: int
    pid: int  # of the emulator
    state: int  # virDomainState
    reason: int
    live_xml: str  # passwords included; "": as in the last one with this `xml_version`
    xml_version: int = 0  # another one for each change of the live XML, over all workers of a boot
    started_at: float  # seconds since the epoch
    balloon_kib: int = 0  # memory the guest has now, when the emulator has told
    autodestroy: str = ""  # the client whose end is the guest's
    job: JobRecord | None = None  # that QEMU does at the moment
    #: When the worker made this, by CLOCK_MONOTONIC, which all processes of a boot share: events
    #: and replies of a worker, and of its successor, can be handled in another order.
    reported_ns: int = 0


class ShutoffInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A worker has no guest (any more)."""

    reason: int  # virDomainShutoffReason; crashes say CRASHED
    detail: int  # of the lifecycle event STOPPED (or CRASHED)
    restart: bool = False  # the definition says that it is to be started anew


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker has: a guest, or the way in which it went."""

    guest: DomainStatus | None = None
    shutoff: ShutoffInfo | None = None


class FreshBoot(msgspec.Struct, frozen=True, tag="fresh_boot"):
    """Boot from the firmware."""


class RestoreImage(msgspec.Struct, frozen=True, kw_only=True, tag="restore_image"):
    """Load the guest's memory from a save image (virDomainSave, managed save).

    Source: libvirt's `virQEMUSaveHeader` and `virQEMUSaveFormat`.
    """

    image: Descriptor  # at the start of the memory, after header and XML; the worker closes it
    path: str  # for errors and the log
    compression: int = 0  # virQEMUSaveFormat
    was_running: bool = True  # when it was saved
    cookie: str = ""  # of the header: what QEMU needs to know of the saved machine


class IncomingMigration(msgspec.Struct, frozen=True, kw_only=True, tag="incoming_migration"):
    """Receive the guest's memory from another host; the vCPUs stay stopped until it is complete."""

    uri: str  # where QEMU listens: "tcp:[::]:49152"


#: Where a guest's state comes from.
StartSource = FreshBoot | RestoreImage | IncomingMigration
FRESH_BOOT: Final = FreshBoot()


class Start(Request[DomainStatus], frozen=True, kw_only=True, tag="worker.start"):
    """Launch the guest; everything is undone when it fails.

    Errors: CONFIG_UNSUPPORTED for what the plan cannot do, INTERNAL_ERROR with the emulator's own
    words, HOOK_SCRIPT_FAILED, OPERATION_INVALID when a guest runs here already.
    """

    deadline_s = 60.0
    xml: str  # the completed definition, passwords included
    id: int
    source: StartSource = FRESH_BOOT
    paused: bool = False
    autodestroy: str = ""


class GetStatus(Request[WorkerStatus], frozen=True, kw_only=True, tag="worker.get_status"):
    """What have you got? Answered from memory, after a start that is on its way."""

    deadline_s = 15.0


class Destroy(Request[Ack], frozen=True, kw_only=True, tag="worker.destroy"):
    """End the guest now; SIGKILL unless `graceful`, which gives it 10 s for SIGTERM.

    `DomainStopped` is sent before the answer.
    Errors: OPERATION_FAILED when a graceful end did not happen.
    """

    deadline_s = 20.0
    graceful: bool = False


class Shutdown(Request[Ack], frozen=True, kw_only=True, tag="worker.shutdown"):
    """Ask the guest to power off (flags: virDomainShutdownFlagValues)."""

    deadline_s = 15.0
    flags: int = 0


class Reboot(Request[Ack], frozen=True, kw_only=True, tag="worker.reboot"):
    """Ask the guest to reboot (flags: virDomainRebootFlagValues)."""

    deadline_s = 15.0
    flags: int = 0


class Reset(Request[Ack], frozen=True, kw_only=True, tag="worker.reset"):
    """Reset the machine as its button does."""

    deadline_s = 15.0


class Suspend(Request[Ack], frozen=True, kw_only=True, tag="worker.suspend"):
    """Stop the processors."""

    deadline_s = 15.0


class Resume(Request[Ack], frozen=True, kw_only=True, tag="worker.resume"):
    """Let the processors run."""

    deadline_s = 15.0


class Wakeup(Request[Ack], frozen=True, kw_only=True, tag="worker.wakeup"):
    """Wake a guest that sleeps by ACPI."""

    deadline_s = 15.0


class SetMetadata(Request[DomainStatus], frozen=True, kw_only=True, tag="worker.set_metadata"):
    """Change what only the live document says; it is kept before the answer.

    No `StatusChanged` is sent for it: the answer has the document. None: the document says nothing.
    """

    deadline_s = 5.0
    title: str | None
    description: str | None
    metadata: str | None


class AttachDevice(Request[DomainStatus], frozen=True, kw_only=True, tag="worker.attach_device"):
    """Give the guest a device; what a failed call had made is gone again.

    Errors: OPERATION_INVALID, OPERATION_UNSUPPORTED, CONFIG_UNSUPPORTED, XML_ERROR, those of netd
    and of the emulator. The reply has the new live XML; no `StatusChanged` is sent for it.
    """

    deadline_s = 60.0
    xml: str  # one element of <devices>


class DetachDevice(Request[DomainStatus], frozen=True, kw_only=True, tag="worker.detach_device"):
    """Ask the guest to let a device go; the answer comes when it has, or 5 s later.

    Errors: DEVICE_MISSING, OPERATION_UNSUPPORTED, those of the emulator.
    """

    deadline_s = 60.0
    xml: str = ""
    alias: str = ""  # instead of a document


class UpdateDevice(Request[DomainStatus], frozen=True, kw_only=True, tag="worker.update_device"):
    """Change a device. Errors: as `AttachDevice`, and DEVICE_MISSING."""

    deadline_s = 60.0
    xml: str
    force: bool = False  # a locked tray is opened all the same


class SetTuning(Request[DomainStatus], frozen=True, kw_only=True, tag="worker.set_tuning"):
    """Have other limits: of memory, processors and disks.

    Errors: INVALID_ARG, SYSTEM_ERROR for what the kernel refuses; nothing has changed then. The
    answer has the new live document, and no `StatusChanged` is sent for it.
    """

    deadline_s = 15.0
    xml: str  # the live document with the limits that are to hold


class StatsParam(msgspec.Struct, frozen=True, array_like=True):
    """One typed parameter: `type` is virTypedParameterType."""

    field: str
    type: int
    value: int | float | str


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """A guest's figures."""

    statistics: list[StatsParam]


class GetStats(Request[Stats], frozen=True, kw_only=True, tag="worker.get_stats"):
    """The figures of these groups (virDomainStatsTypes) that only the emulator knows.

    A guest that hangs gives none.
    """

    deadline_s = 0.8
    groups: int


class GetTuning(Request[Stats], frozen=True, kw_only=True, tag="worker.get_tuning"):
    """The limits that hold, by the names of libvirt's parameters."""

    deadline_s = 5.0


class StatusChanged(Event, frozen=True, kw_only=True, tag="worker.status_changed"):
    """The guest's state or live document has changed."""

    status: DomainStatus
    event: int = NO_EVENT  # virDomainEventType, when clients are to be told
    detail: int = 0


class DomainStopped(Event, frozen=True, kw_only=True, tag="worker.domain_stopped"):
    """The guest has gone; everything of it is cleaned up, and the worker waits to be ended."""

    uuid: bytes
    name: str
    reason: int  # virDomainShutoffReason
    event: int  # virDomainEventType: STOPPED or CRASHED
    detail: int
    restart: bool = False  # the definition says that it is to be started anew
    rename: bool = False  # … under the definition's present name and document


class ForwardEvent(Event, frozen=True, kw_only=True, tag="worker.forward_event"):
    """An event for clients that needs nothing of domd."""

    event: ClientEvent
