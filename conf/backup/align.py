"""The disks of a backup: one for each disk of the domain, with defaults and stores' names.

Owns: which disk takes part how; the names that stores get; what a server must say. Pure.
Source: libvirt 9.0, virDomainBackupAlignDisks, qemuBackupPrepare.
"""

from __future__ import annotations

from conf.backup.model import Backup, BackupDisk, BackupServer, DiskMode
from conf.domain import Domain
from conf.domain.devices.disk import Disk
from conf.domain.devices.disk_chain import layers, local_path
from conf.domain.devices.source import Source
from conf.errors import ConfError


def prepare_server(backup: Backup) -> None:
    """Complete the server of a pull; the backup is changed in place.

    Raises:
        ConfError: "operation_unsupported": QEMU cannot choose a port.
    """
    if not backup.is_pull:
        return
    server = backup.server = backup.server or BackupServer(transport="tcp", name="localhost")
    if server.transport == "tcp" and not server.port:
        detail = "<domainbackup> must specify TCP port for now"
        raise ConfError("operation_unsupported", detail, "server/@port")


def align_disks(backup: Backup, domain: Domain, suffix: str) -> None:
    """Give a backup a <disk> for each disk of the domain, in the order of the document's.

    Args:
        backup: changed in place.
        domain: of the running guest.
        suffix: of names that are made: the checkpoint's name, or the time.

    Raises:
        ConfError: "config_unsupported": a disk is not there, given twice, or cannot be so.
    """
    disks = {disk.target.dev: disk for disk in domain.devices.disks}
    given: set[str] = set()
    for item in backup.disks:
        disk = disks.get(item.name)
        if disk is None:
            raise ConfError("config_unsupported", f"no disk named '{item.name}'")
        if item.name in given:
            raise ConfError("config_unsupported", f"disk '{item.name}' specified twice")
        given.add(item.name)
        if item.backup:
            _align_given(backup, item, disk, suffix)
    for name, disk in disks.items():
        if name in given:
            continue
        added = BackupDisk(name=name, backup=not backup.lists_disks and _is_written(disk))
        if added.backup:
            added.type = "file"
            _align_given(backup, added, disk, suffix)
        backup.disks.append(added)


def _is_written(disk: Disk) -> bool:
    return bool(layers(disk)) and not disk.readonly


def _align_given(backup: Backup, item: BackupDisk, disk: Disk, suffix: str) -> None:
    if not layers(disk):
        raise ConfError("config_unsupported", f"disk '{item.name}' has no media")
    _align_mode(backup, item)
    item.format = item.format or "qcow2"
    if not any(local_path(source) for source in (item.target, item.scratch) if source is not None):
        store = _named_store(item, disk, suffix)
        item.target, item.scratch = (None, store) if backup.is_pull else (store, None)
    if not backup.is_pull:
        return
    item.export_name = item.name if item.export_name is None else item.export_name
    if item.incremental and not item.export_bitmap:
        item.export_bitmap = f"backup-{item.name}"


def _align_mode(backup: Backup, item: BackupDisk) -> None:
    """Decide what of a disk is backed up.

    Raises:
        ConfError: it is not said since when.
    """
    since = item.incremental or backup.incremental or None
    if item.mode is None:
        item.mode = DiskMode.INCREMENTAL if since else DiskMode.FULL
    if item.mode is DiskMode.INCREMENTAL and since is None:
        detail = (
            f"'incremental' backup mode of disk '{item.name}' requires setting 'incremental' field "
            "for disk or backup"
        )
        raise ConfError("config_unsupported", detail)
    item.incremental = since if item.mode is DiskMode.INCREMENTAL else None


def _named_store(item: BackupDisk, disk: Disk, suffix: str) -> Source:
    """Name a store by the disk's image.

    Raises:
        ConfError: the image is no file.
    """
    source = disk.source
    path = source.file if source is not None and disk.type == "file" else None
    if item.type != "file" or not path:
        detail = f"refusing to generate file name for disk '{item.name}'"
        raise ConfError("config_unsupported", detail)
    return Source(file=f"{path}.{suffix}")
