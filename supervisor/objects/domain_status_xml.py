"""The status file of a running domain: what a worker needs to reconnect to a guest.

Owns: that XML. May touch: paths.run/DRIVER/NAME.xml.
Readers: the worker's successor, and domd until the worker replies.
Source: libvirt's <domstatus>; what libvirt has no element for is JSON in an element of ours.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape, quoteattr, unescape

import msgspec

from rpc.enums import DomainState
from supervisor.objects.backup_job import BackupEnd, BackupRecord
from supervisor.objects.block_job import BlockJobRecord, PendingOverlay
from supervisor.objects.disk_change import DiskChange
from supervisor.objects.job import JobRecord
from supervisor.runtime.atomic_file import write_file

MAX_BYTES: Final = 32 << 20
OPENING: Final = "<virtvisor>"
CLOSING: Final = "</virtvisor>"

log = logging.getLogger(__name__)


class Owner(msgspec.Struct, frozen=True, array_like=True):
    """The owner of a file before it was changed for the guest."""

    path: str
    uid: int
    gid: int
    device: int = 0  # which file it was, with the inode: another one may stand at the path later
    inode: int = 0  # 0: not known
    mode: int = 0  # whose bits for others are restored; 0: they are not
    grantee: int = 0  # the user who was let open it by an access control list; 0: it was chowned


class External(msgspec.Struct, frozen=True, array_like=True):
    """A process that serves a device of the guest, such as virtiofsd."""

    alias: str  # the device's
    pid: int
    start: int
    boot: str


class MemoryFile(msgspec.Struct, kw_only=True):
    """The file that a job writes a guest's memory to."""

    path: str
    temporary: str  # its name until it is complete; "": it is written in place
    resume: bool  # the vCPUs ran when the job began
    writer: int = 0  # the process that writes it, and removes it if that fails
    complete: bool = False  # whole and on disk: the job is to be finished, never undone


class LoadedMemory(msgspec.Struct, kw_only=True):
    """A guest whose memory is loaded and whose vCPUs are about to run."""

    image: str  # to be removed then; "": none
    run: bool
    reverts: bool = False  # to a snapshot


class Status(msgspec.Struct, kw_only=True):
    """A running domain, without its live XML, which is beside it in the file."""

    name: str
    uuid: str
    id: int
    state: int  # virDomainState
    reason: int
    pid: int = 0  # 0: the emulator was not started yet
    start: int = 0  # its start time, in clock ticks since boot: a pid can be reused
    boot: str = ""  # the boot ID of the host in which it runs
    started_at: float = 0.0
    monitor: str = ""  # the socket's path
    autodestroy: str = ""
    fake_reboot: bool = False  # the next power-off is a reboot
    ending: int = 0  # virDomainShutoffReason, once the guest is being stopped
    cgroup: str = ""  # its group's path below each hierarchy's root; "": it has none
    filters_devices: bool = False  # the group keeps QEMU from opening other devices
    user: list[int] = []  # uid and gid of the emulator, and 1 if they are this guest's alone
    private_dev: int = 0  # device number of its own /dev; 0: it has the host's
    owners: list[Owner] = []  # restored when the guest stops
    externals: list[External] = []  # ended with the guest
    job: JobRecord | None = None  # that QEMU runs now
    taints: list[str] = []  # `Taint`, of the running guest
    deprecations: list[str] = []  # settings that its QEMU says are deprecated
    agent_timeout: int = -2  # virDomainAgentResponseTimeoutValues, or seconds
    memory_file: MemoryFile | None = None  # of that job
    loaded: LoadedMemory | None = None
    restart: bool = False  # the definition is started again when the guest has stopped
    block_jobs: list[BlockJobRecord] = []
    overlays: list[PendingOverlay] = []  # that a snapshot is about to put on disks
    disk_changes: list[DiskChange] = []  # that the definition does not have yet
    last_disk_change: int = 0  # its number
    backup: BackupRecord | None = None
    backup_end: BackupEnd | None = None  # of the last one
    resume_after_job: str = ""  # the QEMU job for which the vCPUs are stopped


def shown_backup(status: Status) -> str:
    """Return the <domainbackup> that clients get; "" for none, or one that has not begun."""
    backup = status.backup
    return backup.xml if backup is not None and backup.began else ""


_DECODER: Final = msgspec.json.Decoder(Status)


class StatusError(Exception):
    """A status file cannot be read: no worker can reconnect to its guest."""


def write_status(path: Path, status: Status, live_xml: str) -> None:
    """Write a status file; it survives any process, and a loss of power ends the guest, too.

    Raises:
        OSError: nothing has changed.
    """
    write_file(path, format_status(status, live_xml).encode(), durable=False)


def read_status(path: Path) -> tuple[Status, str] | None:
    """Read a status file and its live XML; None: there is none.

    Raises:
        StatusError: the daemon did not write it.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(data) > MAX_BYTES:
        raise StatusError(f"{path} has over {MAX_BYTES} bytes")
    try:
        return parse_status(data.decode())
    except (ValueError, msgspec.MsgspecError) as error:
        raise StatusError(f"{path} is no status file of this daemon: {error}") from error


def find_status(path: Path) -> tuple[Status, str] | None:
    """Read what a predecessor left; an unreadable file is removed. None: there is none."""
    try:
        return read_status(path)
    except StatusError as error:
        log.error("%s; it is removed, and no worker reconnects to its guest", error)
        remove_status(path)
        return None


def read_all_status(folder: Path) -> list[tuple[Status, str]]:
    """Read every status file of a folder; an unreadable one is left out with a log line."""
    statuses = []
    for path in sorted(folder.glob("*.xml")):
        try:
            status = read_status(path)
        except (OSError, StatusError) as error:
            log.error("%s is left out, its guest is not managed: %s", path, error)
            continue
        if status is not None:
            statuses.append(status)
    return statuses


def remove_status(path: Path) -> None:
    """Remove a status file: the guest has stopped."""
    path.unlink(missing_ok=True)


def format_status(status: Status, live_xml: str) -> str:
    """Write the XML."""
    status_json = escape(msgspec.json.encode(status).decode())
    state = DomainState(status.state).name.lower()
    monitor = quoteattr(status.monitor)
    # libvirt's element, for a libvirtd that takes the guest over
    namespaces = "  <namespaces>\n    <mount/>\n  </namespaces>\n" if status.private_dev else ""
    return (
        "<!--\nWARNING: THIS FILE IS WRITTEN BY THE DAEMON; CHANGES TO IT ARE LOST.\n-->\n"
        f"<domstatus state='{state}' reason='{status.reason}' pid='{status.pid}'>\n"
        f"  <monitor path={monitor} type='unix'/>\n"
        f"{namespaces}"
        f"  {OPENING}{status_json}{CLOSING}\n"
        f"{live_xml}</domstatus>\n"
    )


def parse_status(text: str) -> tuple[Status, str]:
    """Read the XML: the status and the live XML.

    Raises:
        ValueError, msgspec.MsgspecError: the daemon did not write it.
    """
    begin, end = text.find(OPENING), text.find(CLOSING)
    domain, last = text.find("<domain ", end), text.rfind("</domstatus>")
    if not 0 <= begin < end < domain < last:
        raise ValueError("an element is missing")
    status_json = unescape(text[begin + len(OPENING) : end])
    return _DECODER.decode(status_json), text[domain:last]
