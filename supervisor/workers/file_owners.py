"""Ownership of a guest's files: QEMU's user while it runs, the previous owner afterwards.

Owns: chown and restoring. May touch: files that the domain's XML names.
Source: libvirt 9.0, qemu.conf "dynamic_ownership".
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.objects.domain_status_xml import Owner
from supervisor.runtime.emulator_user import User

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChownedFile:
    """A file that QEMU must be able to open."""

    path: str
    restored: bool = True  # to its previous owner; images that domains share are not


def chown_for_guest(files: Iterable[ChownedFile], user: User) -> list[Owner]:
    """Give files to QEMU's user.

    Raises:
        VirError: SYSTEM_ERROR naming the file; the others are restored.

    Returns:
        The previous owners of those that are to be restored.
    """
    owners: list[Owner] = []
    try:
        for file in files:
            owner = _chown(file, user)
            if owner is not None and file.restored:
                owners.append(owner)
    except OSError as error:
        restore(owners)
        detail = f"unable to set user and group of '{error.filename}': {error.strerror}"
        raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.SECURITY) from error
    return owners


def _chown(file: ChownedFile, user: User) -> Owner | None:
    """Give one file; None if it is the user's already, or missing (QEMU reports that better)."""
    try:
        # O_PATH: opening a tape or a serial port for real has side effects.
        fd = os.open(file.path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(fd)
        if (status.st_uid, status.st_gid) == (user.uid, user.gid) or not _is_chownable(status):
            return None
        # By its descriptor: QEMU's user may have put another file at the path by now.
        os.chown(f"/proc/self/fd/{fd}", user.uid, user.gid)
        return Owner(file.path, status.st_uid, status.st_gid)
    finally:
        os.close(fd)


def _is_chownable(status: os.stat_result) -> bool:
    """Return whether it is an image, a device or a socket: never a directory or symbolic link."""
    mode = status.st_mode
    if stat.S_ISCHR(mode) and mode & 0o006 == 0o006:
        return False  # every user may open /dev/null: it stays the host's
    return stat.S_ISREG(mode) or stat.S_ISBLK(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)


def restore(owners: Iterable[Owner]) -> None:
    """Give files back to their previous owners; missing ones are skipped."""
    for owner in owners:
        with contextlib.suppress(FileNotFoundError):
            try:
                os.chown(owner.path, owner.uid, owner.gid)
            except OSError as error:
                log.warning("owner of %s cannot be restored: %s", owner.path, error)
