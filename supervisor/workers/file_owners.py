"""Ownership of a guest's files: QEMU's user while it runs, the previous owner afterwards.

Owns: chown and restoring. May touch: files that the domain's XML names.
Source: libvirt 9.0, qemu.conf "dynamic_ownership", "remember_owner".
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.objects.domain_status_xml import Owner
from supervisor.runtime.emulator_user import User
from supervisor.workers.bendable_files import open_unread
from supervisor.workers.previous_owners import PreviousOwners

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChownedFile:
    """A file that QEMU must be able to open."""

    path: str
    #: Guests of other hosts may use it at the same time: see `PreviousOwners`.
    shared: bool = False
    keeps_owner: bool = False  # <seclabel relabel='no'>: QEMU opens it as it is


async def chown_for_guest(
    files: Iterable[ChownedFile], user: User, previous_owners: PreviousOwners
) -> list[Owner]:
    """Give files to QEMU's user.

    Raises:
        VirError: SYSTEM_ERROR naming the file; the others are restored.

    Returns:
        The previous owners of those that are to be restored.
    """
    owners: list[Owner] = []
    try:
        for file in files:
            if file.keeps_owner:
                continue
            owner = await _chown(file, user, previous_owners)
            if owner is not None and owner not in owners:
                owners.append(owner)
    except OSError as error:
        await restore(owners, previous_owners)
        detail = f"unable to set user and group of '{error.filename}': {error.strerror}"
        raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.SECURITY) from error
    except asyncio.CancelledError:
        await restore(owners, previous_owners)
        raise
    return owners


async def _chown(file: ChownedFile, user: User, previous_owners: PreviousOwners) -> Owner | None:
    """Give one file; None if it is not to be restored, or missing (QEMU reports that better)."""
    try:
        fd = open_unread(file.path, user)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(fd)
        if not _is_chownable(status):
            return None
        owner = await previous_owners.take(file.path, status, user, shared=file.shared)
        if (status.st_uid, status.st_gid) != (user.uid, user.gid):
            # By its descriptor: QEMU's user may have put another file at the path by now.
            os.chown(f"/proc/self/fd/{fd}", user.uid, user.gid)
        return owner
    except OSError as error:
        raise OSError(error.errno, error.strerror, file.path) from error
    finally:
        os.close(fd)


def _is_chownable(status: os.stat_result) -> bool:
    """Return whether it is an image, a device or a socket: never a directory or symbolic link."""
    mode = status.st_mode
    if stat.S_ISCHR(mode) and mode & 0o006 == 0o006:
        return False  # every user may open /dev/null: it stays the host's
    return stat.S_ISREG(mode) or stat.S_ISBLK(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)


async def restore(owners: Iterable[Owner], previous_owners: PreviousOwners) -> None:
    """Give files back to their previous owners, but for those that other guests use.

    A missing one is skipped, and so is another file that stands at the path now: who may write to
    the folder, as QEMU's user, could have root give any file away.
    """
    for owner in owners:
        try:
            if await previous_owners.release(owner):
                _restore(owner)
        except FileNotFoundError:
            continue
        except OSError as error:
            log.warning("owner of %s cannot be restored: %s", owner.path, error)


def _restore(owner: Owner) -> None:
    fd = os.open(owner.path, os.O_PATH | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if owner.inode and (status.st_dev, status.st_ino) != (owner.device, owner.inode):
            log.warning("%s is another file than at the start; its owner stays", owner.path)
            return
        os.chown(f"/proc/self/fd/{fd}", owner.uid, owner.gid)
    finally:
        os.close(fd)
