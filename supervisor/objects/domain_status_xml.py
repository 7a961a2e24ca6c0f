"""The status file of a running domain: what a worker needs to reconnect to a guest.

Owns: that XML. May touch: paths.run/DRIVER/NAME.xml; /proc, to read.
Readers: the worker's successor, domd until the worker replies, and libvirt's own daemon, which
takes over QEMU guests from it; libvirt's files are read here, too (docs/takeover.md).
Source: libvirt 9.0's <domstatus>; what libvirt has no element for is JSON in an element of ours.
"""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape, quoteattr, unescape

import msgspec

from conf.errors import ConfError
from supervisor.objects.backup_job import BackupEnd, BackupRecord
from supervisor.objects.block_job import BlockJobRecord, PendingOverlay
from supervisor.objects.disk_change import DiskChange
from supervisor.objects.job import JobRecord
from supervisor.objects.libvirt_status import NotTaken, parse_libvirt_status
from supervisor.objects.state_names import reason_name, state_name
from supervisor.objects.status_elements import highest_index, live_text, status_text
from supervisor.runtime.atomic_file import write_file
from supervisor.runtime.host import boot_id
from supervisor.runtime.procfs import command_line, start_time

MAX_BYTES: Final = 32 << 20
cache_last: Final = lru_cache(maxsize=1)
OPENING: Final = "<virtvisor>"
CLOSING: Final = "</virtvisor>"
GONE: Final = -1  # no process has this start time

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
    pci_devices: list[str] = []  # addresses of managed ones, which the host gets back then
    externals: list[External] = []  # ended with the guest
    job: JobRecord | None = None  # that QEMU runs now
    taints: list[str] = []  # `Taint`, of the running guest
    deprecations: list[str] = []  # settings that its QEMU says are deprecated
    advised_nodes: str = ""  # by numad, for placement='auto'
    advised_cpus: str = ""  # of those nodes
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
    last_node: int = 0  # the highest number that an image's nodes have had; 0: not known
    no_bitmaps: bool = False  # QEMU has no dirty bitmap, but for those stored in images
    resume_after_job: str = ""  # the QEMU job for which the vCPUs are stopped
    foreign: bool = False  # libvirt's daemon started the guest, and no worker has taken it over yet
    original_cpu: str = ""  # <cpu>, where the start has made another one; "": the live XML's
    libvirt_flags: str = ""  # the QEMU's capabilities, by libvirt's names

    @property
    def can_move(self) -> bool:
        """Whether libvirt's own daemon can take over the guest as it is.

        It ends a guest whose capabilities it does not know, and knows of no job of this daemon.
        """
        jobs = (self.job, self.memory_file, self.loaded, self.block_jobs, self.overlays)
        begun = self.ending or self.restart or self.resume_after_job or not self.pid
        is_known = bool(self.monitor and self.libvirt_flags)
        return is_known and not begun and not any(jobs) and self.backup is None


def shown_backup(status: Status) -> str:
    """Return the <domainbackup> that clients get; "" for none, or one that has not begun."""
    backup = status.backup
    return backup.xml if backup is not None and backup.began else ""


_DECODER: Final = msgspec.json.Decoder(Status)


class StatusError(Exception):
    """A status file cannot be read: no worker can reconnect to its guest."""


class StatusWriter:
    """Writes the status file of one guest, again and again.

    What is before the live XML is kept as text: a change of a limit does not touch it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._json = b""
        self._index = 0  # of block nodes, at that time
        self._head = ""

    def write(self, status: Status, live_xml: str) -> None:
        """Write it; it survives any process, and a loss of power ends the guest, too.

        Raises:
            OSError: nothing has changed.
        """
        write_file(self._path, self.format(status, live_xml).encode(), durable=False)

    def format(self, status: Status, live_xml: str) -> str:
        """Write the XML, as `format_status` does."""
        status_json, index = msgspec.json.encode(status), _highest_index(live_xml)
        if status_json != self._json or index != self._index:
            self._head = _head(status, status_json.decode(), index)
            self._json, self._index = status_json, index
        domain = status_text(live_xml) if status.can_move else live_xml
        return f"{self._head}{domain}</domstatus>\n"


def write_status(path: Path, status: Status, live_xml: str) -> None:
    """Write a status file once. Raises: as `StatusWriter.write`."""
    StatusWriter(path).write(status, live_xml)


def read_status(path: Path) -> tuple[Status, str] | None:
    """Read a status file and its live XML, also one of libvirt's own; None: there is none.

    Raises:
        StatusError: neither daemon wrote it, or its guest cannot be taken over.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(data) > MAX_BYTES:
        raise StatusError(f"{path} has over {MAX_BYTES} bytes")
    try:
        text = data.decode()
        return parse_status(text) if OPENING in text else read_foreign(text)
    except NotTaken as error:
        raise StatusError(f"the guest of {path} cannot be taken over: {error}") from error
    except (ValueError, ConfError, msgspec.MsgspecError) as error:
        raise StatusError(f"{path} cannot be read: {error}") from error


def find_status(path: Path) -> tuple[Status, str] | None:
    """Read what a predecessor left. None: there is nothing that a worker could reconnect to.

    A file that cannot be read stays as it is: another daemon may be able to, and its guest runs.
    """
    try:
        return read_status(path)
    except StatusError as error:
        log.error("%s; the file is left as it is, and no worker reconnects to its guest", error)
        return None


def read_foreign(text: str) -> tuple[Status, str]:
    """Read a status file that libvirt's own daemon wrote.

    It has no start time of the process: whose process has that number now is on its command line.

    Raises:
        NotTaken, ConfError, ValueError: as `parse_libvirt_status`.
    """
    found = parse_libvirt_status(text)
    is_guest = found.uuid in command_line(found.pid)
    start = start_time(found.pid) if is_guest else None
    status = Status(
        name=found.name,
        uuid=found.uuid,
        id=found.id,
        state=found.state,
        reason=found.reason,
        pid=found.pid,
        start=start if start is not None else GONE,
        boot=boot_id(),
        monitor=found.monitor,
        fake_reboot=found.fake_reboot,
        taints=list(found.taints),
        deprecations=list(found.deprecations),
        agent_timeout=found.agent_timeout,
        foreign=True,
        libvirt_flags=found.flags,
        private_dev=private_dev(found.pid) if "mount" in found.namespaces else 0,
    )
    return status, found.live_xml


def private_dev(pid: int) -> int:
    """Return the number of the device that is a process's own /dev; 0: it has the host's."""
    try:
        own, hosts = os.stat(f"/proc/{pid}/root/dev"), os.stat("/dev")
    except OSError:
        return 0
    return 0 if own.st_dev == hosts.st_dev else own.st_dev


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
    """Write the XML.

    A file whose guest libvirt's daemon could only end has a reason that it does not know: it leaves
    such a file, and the guest, alone.
    """
    return StatusWriter(Path()).format(status, live_xml)


def _head(status: Status, status_json: str, index: int) -> str:
    """Write what is before the live XML, whose block nodes have numbers up to the index."""
    state, reason, libvirts = status.state, str(status.reason), ""
    if status.can_move:
        reason = reason_name(state, status.reason)
        libvirts = _libvirt_elements(status, index)
    elif status.monitor:
        libvirts = f"  <monitor path={quoteattr(status.monitor)} type='unix'/>\n"
    return (
        "<!--\nWARNING: THIS FILE IS WRITTEN BY THE DAEMON; CHANGES TO IT ARE LOST.\n-->\n"
        f"<domstatus state='{state_name(state)}' reason='{reason}' pid='{status.pid}'>\n"
        f"{libvirts}"
        f"  {OPENING}{escape(status_json)}{CLOSING}\n"
    )


def _libvirt_elements(status: Status, index: int) -> str:
    """Write what libvirt's daemon needs to take over the guest.

    Source: libvirt 9.0, virDomainObjFormat, qemuDomainObjPrivateXMLFormat. <vcpus> is
    left out: it asks QEMU for what is in it.
    """
    folder, _, name = status.monitor.rpartition("/")[0].rpartition("/")
    channels = f"{folder}/channel/target/{name}"
    lines = [
        *(f"<taint flag={quoteattr(taint)}/>" for taint in status.taints),
        *(f"<deprecation>{escape(text)}</deprecation>" for text in status.deprecations),
        f"<monitor path={quoteattr(status.monitor)} type='unix'/>",
        f"<libDir path={quoteattr(f'{folder}/{name}')}/>",
        f"<channelTargetDir path={quoteattr(channels)}/>",
        _capabilities(status.libvirt_flags),
        *(["<namespaces><mount/></namespaces>"] if status.private_dev else []),
        *(["<fakereboot/>"] if status.fake_reboot else []),
        *(["<rememberOwner/>"] if status.owners else []),
        f"<nodename index='{max(index, status.last_node)}'/>",
        "<blockjobs active='no'/>",
        f"<agentTimeout>{status.agent_timeout}</agentTimeout>",
    ]
    return "".join(f"  {line}\n" for line in lines)


@cache_last
def _capabilities(flags: str) -> str:
    names = escape(flags, {"'": "&apos;"}).split()
    return "<qemuCaps>" + "".join(f"<flag name='{name}'/>" for name in names) + "</qemuCaps>"


#: A worker writes the file at each change of state, and its XML changes far less often.
_highest_index: Final = cache_last(highest_index)


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
    return _DECODER.decode(status_json), live_text(text[domain:last])
