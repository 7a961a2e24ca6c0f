"""The files of a backup: which of them are removed at its end.

Owns: that. May touch: targets and scratch images that were made for the backup, the socket of its
server. May not touch: QEMU.
Source: libvirt 9.0, qemuBackupJobTerminate.
"""

from __future__ import annotations

import logging
import os
import stat

from supervisor.objects.backup_job import BackupDiskRecord, BackupRecord
from supervisor.objects.domain_status_xml import Status

log = logging.getLogger(__name__)


def remove_files(backup: BackupRecord, *, keeps: bool) -> None:
    """Remove the images that were made, unless they are wanted, and the server's socket."""
    for disk in backup.disks:
        if disk.created and not keeps:
            _remove_image(disk)
    if backup.pull and backup.socket:
        _remove_socket(backup.socket)


def _remove_image(disk: BackupDiskRecord) -> None:
    try:
        if disk.is_creating:
            found = os.lstat(disk.created)
            if found.st_size or found.st_uid != os.geteuid() or not stat.S_ISREG(found.st_mode):
                return  # somebody else's
        os.unlink(disk.created)
    except FileNotFoundError:
        pass
    except OSError as error:
        log.warning("image %s of a backup cannot be removed: %s", disk.created, error)


def _remove_socket(path: str) -> None:
    """Remove a socket that QEMU, when it was killed, has left."""
    try:
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
    except OSError as error:
        log.debug("%s: %s", path, error)


def clean_up_backup(status: Status) -> None:
    """Remove what the backup of a guest that has ended leaves; the caller writes no status."""
    backup = status.backup
    if backup is not None:
        remove_files(backup, keeps=backup.reuse)
