"""Messages between domd and a domain's worker.

Owns: their fields. Sender of requests: domd. Receiver of events: domd.
Clients' own calls on a running guest go as `supervisor.messages.calls.ClientRequest`.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from ipc import Ack, Descriptor, Event, Request
from rpc.enums import DomainShutoffReason
from supervisor.messages.calls import ClientEvent
from supervisor.objects.backup_job import BackupEnd
from supervisor.objects.disk_change import DiskChange
from supervisor.objects.job import JobProgress, JobRecord

NO_EVENT = -1


class DomainStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A running guest's state, as its worker reports it."""

    uuid: bytes
    name: str
    id: int
    pid: int  # of QEMU, or of the container's init
    state: int  # virDomainState
    reason: int
    live_xml: str  # passwords included; "": as in the last one with this `xml_version`
    xml_version: int = 0  # another one for each change of the live XML, over all workers of a boot
    started_at: float  # seconds since the epoch
    balloon_kib: int = 0  # memory that the guest has now; 0: not known
    autodestroy: str = ""  # the client whose disconnection destroys the domain
    job: JobRecord | None = None  # that QEMU does at the moment
    controllers: tuple[str, ...] = ()  # of its cgroup, that tuning needs; none: it has no cgroup
    taints: list[str] = []  # `Taint`
    deprecations: list[str] = []  # settings that its QEMU says are deprecated
    disk_changes: list[DiskChange] = []  # that the definition is to follow (`DiskChangesSaved`)
    has_block_jobs: bool = False
    backup: str = ""  # the <domainbackup> of a backup that has begun
    backup_end: BackupEnd | None = None  # of the last backup
    #: The <cpu> before its start, where that has made another one; "": it is the live XML's.
    original_cpu: str = ""
    #: When the worker made this, by CLOCK_MONOTONIC, which all processes of a boot share: events
    #: and replies of a worker, and of its successor, can be handled in another order.
    reported_ns: int = 0


class ShutoffInfo(msgspec.Struct, frozen=True, kw_only=True):
    """How a guest ended."""

    reason: int  # virDomainShutoffReason; crashes say CRASHED
    detail: int  # of the lifecycle event STOPPED (or CRASHED)
    restart: bool = False  # the domain is to be started again
    disk_changes: list[DiskChange] = []  # that the definition is to follow


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker has: a guest, or how its last guest ended."""

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
    bypass_cache: bool = False
    #: The image of a managed save: removed once the guest has its memory. "": the image stays.
    remove: str = ""
    reverts: bool = False  # to a snapshot: the guest's state says so
    cpu: str = ""  # the <cpu> that it ran with, where starting it has made another; "": the XML's


class IncomingMigration(msgspec.Struct, frozen=True, kw_only=True, tag="incoming_migration"):
    """Receive the guest's memory from another host; the vCPUs stay stopped until it is complete."""

    uri: str  # where QEMU listens: "tcp:[::]:49152"


class LoadSnapshot(msgspec.Struct, frozen=True, kw_only=True, tag="load_snapshot"):
    """Load the guest's memory and disks from a snapshot in its images."""

    name: str


#: Where a guest's state comes from.
StartSource = FreshBoot | RestoreImage | IncomingMigration | LoadSnapshot
FRESH_BOOT: Final = FreshBoot()


class Start(Request[DomainStatus], frozen=True, kw_only=True, tag="worker.start"):
    """Start the guest; everything is undone if that fails.

    Errors: CONFIG_UNSUPPORTED; OPERATION_UNSUPPORTED: the source is not implemented;
    INTERNAL_ERROR with QEMU's or liblxc's output; HOOK_SCRIPT_FAILED; OPERATION_INVALID: a guest
    runs already.
    """

    deadline_s = 60.0
    xml: str  # the completed definition, passwords included
    id: int
    source: StartSource = FRESH_BOOT
    paused: bool = False
    autodestroy: str = ""
    agent_timeout: int = -2  # as `SetAgentTimeout.timeout`
    #: What a container's init inherits, as its descriptors from 3 on; the worker closes its copies.
    files: list[Descriptor] = msgspec.field(default_factory=list)
    #: What the sources of disks with fdgroup= are, by that name; the worker closes its copies.
    fd_groups: dict[str, list[Descriptor]] = msgspec.field(default_factory=dict)


#: Deadline of requests that write or read a guest's whole memory.
LONG_S: Final = 6 * 3600.0


class Save(Request[Ack], frozen=True, kw_only=True, tag="worker.save"):
    """Save the guest's memory to a file and end it; `DomainStopped` is sent before the reply.

    Errors: OPERATION_ABORTED: by `AbortJob`; SYSTEM_ERROR of the file; OPERATION_FAILED,
    OPERATION_INVALID: QEMU cannot do it. The guest goes on then, and an earlier file is as it was.
    """

    deadline_s = LONG_S
    job: JobRecord
    path: str
    xml: str  # for the image, passwords included
    cookie: str  # for the image: what is not in its XML
    compression: int = 0  # virQEMUSaveFormat
    bypass_cache: bool = False
    running: bool | None = None  # once it is restored; None: as now


class Dump(Request[Ack], frozen=True, kw_only=True, tag="worker.dump"):
    """Dump the guest's memory to a file.

    Errors: as `Save`; INVALID_ARG, OPERATION_UNSUPPORTED: of the format. The guest goes on then,
    and an earlier file is as it was.
    """

    deadline_s = LONG_S
    job: JobRecord
    path: str
    flags: int = 0  # virDomainCoreDumpFlags
    format: int = 0  # virDomainCoreDumpFormat
    compression: int = 0  # virQEMUSaveFormat, of a dump that is not MEMORY_ONLY


class AbortJob(Request[Ack], frozen=True, kw_only=True, tag="worker.abort_job"):
    """Cancel the guest's job; its request fails then, perhaps after this reply.

    Errors: OPERATION_INVALID: there is none; those of QEMU.
    """

    deadline_s = 15.0


class JobProgressed(Event, frozen=True, kw_only=True, tag="worker.job_progressed"):
    """How far the guest's job is."""

    uuid: bytes
    progress: JobProgress


class GetStatus(Request[WorkerStatus], frozen=True, kw_only=True, tag="worker.get_status"):
    """Query the guest; the reply waits for a start or reboot that is under way."""

    deadline_s = 15.0


class Destroy(Request[Ack], frozen=True, kw_only=True, tag="worker.destroy"):
    """End the guest now, by SIGKILL unless `graceful`, which allows 10 s after SIGTERM.

    `DomainStopped` is sent before the reply.
    Errors: OPERATION_FAILED when a graceful end did not happen.
    """

    deadline_s = 20.0
    graceful: bool = False
    reason: int = DomainShutoffReason.DESTROYED  # virDomainShutoffReason


class Shutdown(Request[Ack], frozen=True, kw_only=True, tag="worker.shutdown"):
    """Have the guest power off (flags: virDomainShutdownFlagValues)."""

    deadline_s = 45.0  # another command may hold the guest agent for 30 s
    flags: int = 0


class Reboot(Request[Ack], frozen=True, kw_only=True, tag="worker.reboot"):
    """Have the guest reboot (flags: virDomainRebootFlagValues)."""

    deadline_s = 45.0  # another command may hold the guest agent for 30 s
    flags: int = 0


class Reset(Request[Ack], frozen=True, kw_only=True, tag="worker.reset"):
    """Reset the machine as its button does."""

    deadline_s = 15.0


class Suspend(Request[Ack], frozen=True, kw_only=True, tag="worker.suspend"):
    """Stop the vCPUs."""

    deadline_s = 15.0


class Resume(Request[Ack], frozen=True, kw_only=True, tag="worker.resume"):
    """Start the vCPUs."""

    deadline_s = 15.0


class Wakeup(Request[Ack], frozen=True, kw_only=True, tag="worker.wakeup"):
    """Wake a guest from ACPI sleep."""

    deadline_s = 15.0


class AgentVcpus(msgspec.Struct, frozen=True, kw_only=True):
    """The guest's own view of its processors."""

    online: int
    maximum: int


class CountAgentVcpus(
    Request[AgentVcpus], frozen=True, kw_only=True, tag="worker.count_agent_vcpus"
):
    """Ask the guest agent how many processors the guest has."""

    deadline_s = 30.0  # above that of the agent's own


class SetAgentTimeout(Request[Ack], frozen=True, kw_only=True, tag="worker.set_agent_timeout"):
    """Set how long commands wait for the guest agent's reply from now on."""

    deadline_s = 5.0
    timeout: int  # virDomainAgentResponseTimeoutValues, or seconds


class NativeCommandLine(msgspec.Struct, frozen=True, kw_only=True):
    """QEMU's command line as a shell takes it, its environment first."""

    text: str


class PlanCommandLine(
    Request[NativeCommandLine], frozen=True, kw_only=True, tag="worker.plan_command_line"
):
    """Plan the command line of a domain that is not started (virConnectDomainXMLToNative).

    The receiver was spawned for this alone, has no guest, and ends by itself afterwards.
    Errors: CONFIG_UNSUPPORTED; those of a missing secret, firmware or volume.
    """

    deadline_s = 20.0
    xml: str  # the completed definition, passwords included


class SetLifecycleAction(
    Request[DomainStatus], frozen=True, kw_only=True, tag="worker.set_lifecycle_action"
):
    """Set what happens when the guest powers off, reboots or crashes.

    Errors: CONFIG_UNSUPPORTED; those of QEMU. The reply has the new live XML, and no
    `StatusChanged` is sent for it.
    """

    deadline_s = 15.0
    event: str  # "on_poweroff", "on_reboot" or "on_crash"
    action: str  # as in the XML


#: The fields of `Domain` that describe it.
DescriptionField = Literal["title", "description", "metadata"]


class SetMetadata(Request[DomainStatus], frozen=True, kw_only=True, tag="worker.set_metadata"):
    """Set the title, description or metadata of the live XML.

    No `StatusChanged` is sent for it: the reply has the XML.
    """

    deadline_s = 5.0
    field: DescriptionField
    text: str | None  # None: there is no such element


class AttachDevice(Request[DomainStatus], frozen=True, kw_only=True, tag="worker.attach_device"):
    """Attach a device; a failed attach is undone.

    Errors: OPERATION_INVALID, OPERATION_UNSUPPORTED, CONFIG_UNSUPPORTED, XML_ERROR, those of netd
    and of QEMU. The reply has the new live XML; no `StatusChanged` is sent for it.
    """

    deadline_s = 60.0
    xml: str  # one element of <devices>
    fd_groups: dict[str, list[Descriptor]] = msgspec.field(default_factory=dict)  # as `Start`'s


class DetachDevice(Request[DomainStatus], frozen=True, kw_only=True, tag="worker.detach_device"):
    """Detach a device; the reply comes when the guest has released it, or after 5 s.

    Errors: DEVICE_MISSING, OPERATION_UNSUPPORTED, those of QEMU.
    """

    deadline_s = 60.0
    xml: str = ""
    alias: str = ""  # instead of XML


class UpdateDevice(Request[DomainStatus], frozen=True, kw_only=True, tag="worker.update_device"):
    """Update a device. Errors: as `AttachDevice`, and DEVICE_MISSING."""

    deadline_s = 60.0
    xml: str
    force: bool = False  # open a tray that the guest has locked


class StatsParam(msgspec.Struct, frozen=True, array_like=True):
    """One typed parameter: `type` is virTypedParameterType."""

    field: str
    type: int
    value: int | float | str


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """A guest's statistics."""

    statistics: list[StatsParam]


class SetTuning(Request[DomainStatus], frozen=True, kw_only=True, tag="worker.set_tuning"):
    """Set memory, CPU and block I/O limits; those that are not named stay as they are.

    Errors: OPERATION_INVALID: the guest's cgroup lacks the controller; INVALID_ARG; SYSTEM_ERROR:
    the kernel refuses. Nothing has changed then. The reply has the new live XML, and no
    `StatusChanged` is sent for it.
    """

    deadline_s = 15.0
    controller: str  # of the limits: "cpu", "memory", "blkio", "cpuset"; "": a container's memory
    #: By libvirt's parameter names. Of "cpuset": "mode" and "nodeset", as in the XML. Of "":
    #: "current_memory", in KiB.
    values: dict[str, int | str]
    tunable: tuple[StatsParam, ...] = ()  # of the TUNABLE event that follows; (): there is none


class GetStats(Request[Stats], frozen=True, kw_only=True, tag="worker.get_stats"):
    """Query the statistics of these groups (virDomainStatsTypes) that domd does not have.

    A guest that hangs has none.
    """

    deadline_s = 0.8
    groups: int


class LimitFile(msgspec.Struct, frozen=True, array_like=True):
    """An open file of the guest's cgroup."""

    fields: tuple[str, ...]  # the parameters that its words are; "max" is -1
    file: Descriptor


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """Limits in force."""

    statistics: list[StatsParam]
    #: Where to read those named in them from now on. The others stay as they are until the guest's
    #: live XML changes.
    files: list[LimitFile] = msgspec.field(default_factory=list)


class GetTuning(Request[Tuning], frozen=True, kw_only=True, tag="worker.get_tuning"):
    """Query the limits in force, by libvirt's parameter names.

    Errors: OPERATION_INVALID: the guest's cgroup lacks the controller.
    """

    deadline_s = 5.0
    controller: str  # "cpu", "memory", "blkio" or "cpuset"
    open_files: bool = False  # pass the files on, where the driver can


class StatusChanged(Event, frozen=True, kw_only=True, tag="worker.status_changed"):
    """The guest's state or live XML has changed."""

    status: DomainStatus
    event: int = NO_EVENT  # virDomainEventType, if clients get a lifecycle event
    detail: int = 0


class DomainStopped(Event, frozen=True, kw_only=True, tag="worker.domain_stopped"):
    """The guest has ended and is cleaned up; the worker waits until domd ends it."""

    uuid: bytes
    name: str
    reason: int  # virDomainShutoffReason
    event: int  # virDomainEventType: STOPPED or CRASHED
    detail: int
    restart: bool = False  # the domain is to be started again
    rename: bool = False  # … from its present definition, not from what it ran with
    #: Changes that the definition is to follow.
    disk_changes: list[DiskChange] = msgspec.field(default_factory=list)


class WorkerGrown(Event, frozen=True, kw_only=True, tag="worker.grown"):
    """The worker is idle and larger than a fresh one: domd may have it renewed."""

    uuid: bytes


class ForwardEvent(Event, frozen=True, kw_only=True, tag="worker.forward_event"):
    """A client event that domd passes on."""

    event: ClientEvent
