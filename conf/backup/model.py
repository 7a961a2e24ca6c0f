"""<domainbackup>: what is to be backed up, and to where.

Owns: the model; parsing and formatting. May not touch: files, the host.
Source: libvirt 9.0 formatbackup.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from lxml import etree

from conf.domain.devices.backing_store import FORMATS
from conf.domain.devices.disk_chain import Layer, local_path
from conf.domain.devices.source import Source
from conf.errors import ConfError
from conf.mapper import Mode, Refusal, attribute, child, children, element, parse_root, text, write
from conf.mapper import read as read_element
from conf.types.bool import yes_no
from conf.types.enum import one_of
from conf.types.integer import unsigned

SCHEMA: Final = "domainbackup.rng"


class BackupMode(StrEnum):
    """How the data leaves the host (virDomainBackupType)."""

    PUSH = "push"  # QEMU writes it to a target
    PULL = "pull"  # a client reads it from QEMU's NBD server


class DiskMode(StrEnum):
    """What of a disk is backed up (virDomainBackupDiskBackupMode)."""

    FULL = "full"
    INCREMENTAL = "incremental"


def _mode(value: str) -> BackupMode:
    if value not in BackupMode.__members__.values():
        raise ConfError("config_unsupported", f"unknown backup mode '{value}'")
    return BackupMode(value)


DISK_MODES: Final = one_of(*DiskMode)


def _disk_mode(value: str) -> DiskMode:
    return DiskMode(DISK_MODES(value))


def _source_type(value: str) -> str:
    if value not in ("file", "block"):
        raise ConfError("xml", f"unsupported disk backup type '{value}'", "disks/disk/@type")
    return value


def _format(value: str) -> str:
    if value not in FORMATS.values:
        raise ConfError("xml", f"unknown disk backup driver '{value}'", "disks/disk/driver/@type")
    return value


@element("disk")
@dataclass(slots=True, kw_only=True)
class BackupDisk:
    """<disk>: how one disk takes part."""

    name: str = attribute(
        "@name", default="", required=Refusal("xml", "missing name from disk backup element")
    )
    backup: bool = attribute("@backup", read=yes_no, default=True)
    type: str | None = attribute("@type", read=_source_type)
    mode: DiskMode | None = attribute("@backupmode", read=_disk_mode)
    incremental: str | None = attribute("@incremental")  # a checkpoint's name
    export_name: str | None = attribute("@exportname")
    export_bitmap: str | None = attribute("@exportbitmap")
    index: int | None = attribute("@index", read=unsigned)  # of the store's block nodes
    format: str | None = attribute("driver/@type", read=_format, empty_is_absent=True)
    target: Source | None = child("target", Source)
    scratch: Source | None = child("scratch", Source)

    @property
    def store(self) -> Source:
        """Where the data goes: the target of a push, the scratch image of a pull."""
        found = self.target or self.scratch
        assert found is not None, "aligned disks that are backed up have one"
        return found

    @property
    def layer(self) -> Layer:
        """The store as an image."""
        return Layer(
            type=self.type or "file",
            source=self.store,
            format=self.format or "qcow2",
            index=self.index,
        )

    @property
    def created_path(self) -> str:
        """The path of a store that is a file; "" for a block device."""
        return local_path(self.store) or "" if self.type == "file" else ""

    def before_write(self, mode: Mode) -> BackupDisk:
        """Write nothing else of a disk that is left out."""
        return self if self.backup else BackupDisk(name=self.name, backup=False)


@element("server")
@dataclass(slots=True, kw_only=True)
class BackupServer:
    """<server>: where QEMU's NBD server listens."""

    transport: str | None = attribute("@transport", read=one_of("tcp", "unix", "rdma"))
    tls: bool | None = attribute("@tls", read=yes_no)
    name: str | None = attribute("@name")
    port: int | None = attribute("@port", read=unsigned)
    socket: str | None = attribute("@socket")


@element("domainbackup")
@dataclass(slots=True, kw_only=True)
class Backup:
    """<domainbackup>."""

    mode: BackupMode = attribute("@mode", read=_mode, default=BackupMode.PUSH)
    incremental: str | None = text("incremental")
    server: BackupServer | None = child("server", BackupServer)
    disks: list[BackupDisk] = children("disks/disk", BackupDisk)
    #: Whether the document lists disks: without a list every disk is backed up.
    lists_disks: bool = field(default=False, compare=False)

    @property
    def is_pull(self) -> bool:
        """Whether a client reads the data."""
        return self.mode is BackupMode.PULL

    @property
    def selected(self) -> list[BackupDisk]:
        """The disks that are backed up."""
        return [disk for disk in self.disks if disk.backup]


def parse_backup(root: etree._Element) -> Backup:
    """Read a client's document, which `parse_root` has parsed.

    Raises:
        ConfError: it contradicts itself; the kind is libvirt's code.
    """
    backup = read_element(Backup, root)
    backup.lists_disks = bool(backup.disks)
    if backup.server is not None:
        _check_server(backup)
    for disk in backup.disks:
        _check_disk(backup, disk)
    return backup


def _check_server(backup: Backup) -> None:
    """Refuse a server that cannot be, and fill in what was left out."""
    server = backup.server
    assert server is not None, "the caller looked"
    if not backup.is_pull:
        raise ConfError("xml", "use of <server> requires pull mode backup", "server")
    server.transport = server.transport or "tcp"
    if server.transport == "rdma":
        detail = "transport rdma is not supported for <server>"
        raise ConfError("config_unsupported", detail, "server/@transport")
    if server.transport == "unix":
        server.name = server.port = None
        if not server.socket:
            raise ConfError("xml", "missing socket for unix transport", "server/@socket")
        if not server.socket.startswith("/"):
            detail = f"backup socket path '{server.socket}' must be absolute"
            raise ConfError("xml", detail, "server/@socket")
    else:
        if server.socket is not None:
            detail = "transport 'tcp' does not support socket attribute"
            raise ConfError("xml", detail, "server/@socket")
        if server.name is None:
            raise ConfError("xml", "missing name for host", "server/@name")


def _check_disk(backup: Backup, disk: BackupDisk) -> None:
    """Refuse a disk that cannot be; drop what the mode does not have."""
    if not disk.backup:
        return
    disk.type = disk.type or "file"
    disk.index = None
    if backup.is_pull:
        disk.target = None
        if disk.format not in (None, "qcow2"):
            detail = f"pull mode requires qcow2 driver, not '{disk.format}'"
            raise ConfError("xml", detail, "disks/disk/driver/@type")
    else:
        disk.scratch = disk.export_name = disk.export_bitmap = None
    store = disk.target or disk.scratch
    if store is not None:
        store.keep_type(disk.type)


def format_backup(backup: Backup) -> str:
    """Format a backup that runs."""
    return write(backup, Mode())


def read_backup(xml: str) -> Backup:
    """Parse what `format_backup` has written."""
    backup = read_element(Backup, parse_root(Backup, xml))
    for disk in backup.selected:
        disk.store.keep_type(disk.type or "file")
    return backup
