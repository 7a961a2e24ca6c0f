"""Requests and events to the root: workers, readiness, the process list.

Links by name (`ipc.Connect`) are the bus's own.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from ipc import Ack, Event, Request
from supervisor.messages.calls import AccessExplanation, AccessQuestion


class Ready(Request[Ack], frozen=True, kw_only=True, tag="root.ready"):
    """Sent by a child when it accepts links from other processes."""

    deadline_s = 10.0


class LoadVfio(Request[Ack], frozen=True, kw_only=True, tag="root.load_vfio"):
    """Load the kernel's module vfio-pci, which only the root has the right to do.

    No error says that it cannot be loaded: the sender looks whether it is there.
    """

    deadline_s = 30.0


class KeepRunning(Event, frozen=True, kw_only=True, tag="root.keep_running"):
    """Whether the sender has work for which `--timeout` must not end the daemon."""

    busy: bool
    why: str


class AccessRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What virtvisorctl asks about access control, on the admin socket."""

    process: str  # that has the object
    question: AccessQuestion


class AccessReply(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to it."""

    error: str = ""  # why there is none
    explanation: AccessExplanation | None = None


class AdminRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request of virtvisorctl, a line of JSON."""

    ask: str  # "status", "access"
    access: AccessRequest | None = None


class WorkerSpawned(msgspec.Struct, frozen=True, kw_only=True):
    """The worker."""

    name: str  # on the bus: "qemu:NAME", "lxc:NAME"
    pid: int
    existed: bool = False  # it ran already: a predecessor of the caller had it spawned


class SpawnWorker(Request[WorkerSpawned], frozen=True, kw_only=True, tag="root.spawn_worker"):
    """Spawn a domain's worker, or return the one that runs; sent by the driver's service.

    The reply comes before the worker is ready; `Node.link(name)` waits for that.
    Errors: INTERNAL_ERROR when it cannot be forked.
    """

    deadline_s = 10.0
    driver: str
    domain: str
    uuid: str  # as text


class EndWorker(Request[Ack], frozen=True, kw_only=True, tag="root.end_worker"):
    """End a worker for good; its guest is not touched.

    An unknown worker is no error. The worker gets `Stop`, and SIGKILL after 5 s.
    """

    deadline_s = 10.0
    name: str  # on the bus


class ReplaceWorker(Request[Ack], frozen=True, kw_only=True, tag="root.replace_worker"):
    """End a worker in order and start a fresh process that reconnects to its guest.

    The reply comes when the fresh one is ready, or failed. A worker that does not run is ignored.
    """

    deadline_s = 15.0
    name: str  # on the bus


class Renewed(msgspec.Struct, frozen=True, kw_only=True):
    """The reply to `RenewWorker`."""

    renewed: bool  # False: the worker has something under way, or is not there


class RenewWorker(Request[Renewed], frozen=True, kw_only=True, tag="root.renew_worker"):
    """Replace an idle worker by a fresh process that takes its guest over, monitor and all.

    The reply comes when the fresh one is ready, or failed: then another one reconnects.
    """

    deadline_s = 15.0
    name: str  # on the bus


class TlsFiles(msgspec.Struct, frozen=True, kw_only=True):
    """The daemon's certificates, as PEM; the key is never logged."""

    ca: bytes
    certificate: bytes
    key: bytes
    crl: bytes  # b"": there is none

    def __repr__(self) -> str:
        return "TlsFiles(…)"


class FetchTlsFiles(Request[TlsFiles], frozen=True, kw_only=True, tag="root.fetch_tls_files"):
    """Read the daemon's certificates; for rpcd, which may not read the key itself.

    Errors: SYSTEM_ERROR, CONFIG_UNSUPPORTED: they cannot be used; the message names the file.
    """

    deadline_s = 60.0  # the files may be on a slow disk, and are checked by a program


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The log's outputs and filters, as in libvirtd.conf."""

    outputs: str
    filters: str


class FetchLogSettings(
    Request[LogSettings], frozen=True, kw_only=True, tag="root.fetch_log_settings"
):
    """Return the log's settings; for rpcd."""

    deadline_s = 10.0


class SetLogSettings(Request[Ack], frozen=True, kw_only=True, tag="root.set_log_settings"):
    """Change the log of every process, until the daemon ends; for rpcd. None: as it is.

    Errors: INVALID_ARG.
    """

    deadline_s = 10.0
    outputs: str | None = None
    filters: str | None = None


class SetTimeout(Request[Ack], frozen=True, kw_only=True, tag="root.set_timeout"):
    """End the daemon when it was idle for so long; for rpcd."""

    deadline_s = 10.0
    seconds: int  # 0: never


class ProcessState(StrEnum):
    """The state of a service or worker in the root's table."""

    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"  # it has exited, and its restart is scheduled
    DEGRADED = "degraded"  # it exited too often: the pauses are long
    STOPPING = "stopping"
    STOPPED = "stopped"


class ProcessStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One process of the daemon."""

    name: str
    pid: int  # 0: not running
    state: ProcessState
    restarts: int
    uptime_s: float
    private_kib: int
    guest_pid: int = 0  # a worker's guest


class Processes(msgspec.Struct, frozen=True, kw_only=True):
    """The processes, the root first."""

    processes: list[ProcessStatus]


class ListProcesses(Request[Processes], frozen=True, kw_only=True, tag="root.list_processes"):
    """List the daemon's processes."""

    deadline_s = 30.0
