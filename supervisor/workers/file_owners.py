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
from supervisor.workers import access_lists, owner_attributes
from supervisor.workers.bendable_files import open_unread
from supervisor.workers.dynamic_users import grant_error
from supervisor.workers.previous_owners import PreviousOwners, narrows

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChownedFile:
    """A file that QEMU must be able to open."""

    path: str
    #: Guests of other hosts may use it at the same time: see `PreviousOwners`.
    shared: bool = False
    keeps_owner: bool = False  # <seclabel relabel='no'>: QEMU opens it as it is
    writable: bool = True


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
    except (asyncio.CancelledError, VirError):
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
        if user.is_dynamic and file.shared:
            return await _let_open(file, fd, user, previous_owners)
        owner = await previous_owners.take(file.path, status, user, shared=file.shared)
        if owner is not None and not file.shared:  # libvirt counts no users of shared images
            owner_attributes.remember(f"/proc/self/fd/{fd}", owner.uid, owner.gid)
        if (status.st_uid, status.st_gid) != (user.uid, user.gid):
            # By its descriptor: QEMU's user may have put another file at the path by now.
            os.chown(f"/proc/self/fd/{fd}", user.uid, user.gid)
        if narrows(status, user):
            os.chmod(f"/proc/self/fd/{fd}", stat.S_IMODE(status.st_mode) & ~0o007)
        return owner
    except OSError as error:
        raise OSError(error.errno, error.strerror, file.path) from error
    finally:
        os.close(fd)


async def _let_open(
    file: ChownedFile, fd: int, user: User, previous_owners: PreviousOwners
) -> Owner | None:
    """Let one guest's user open a file that other guests use, too; its owner stays.

    Raises:
        VirError: SYSTEM_ERROR: its file system has no access control lists.
    """
    permissions = access_lists.READ | (access_lists.WRITE if file.writable else 0)
    status = os.fstat(fd)
    if status.st_uid == user.uid or status.st_mode & permissions == permissions:
        return None
    owner = await previous_owners.take_shared(file.path, status, user)
    try:
        access_lists.grant(fd, user.uid, permissions)
    except OSError as error:
        await previous_owners.release(owner)
        detail = grant_error(file.path, user, error)
        raise VirError(
            ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.SECURITY, int1=error.errno or -1
        ) from error
    return owner


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
            _restore(owner, last=await previous_owners.release(owner))
        except FileNotFoundError:
            continue
        except OSError as error:
            log.warning("owner of %s cannot be restored: %s", owner.path, error)


def _restore(owner: Owner, *, last: bool) -> None:
    """Give a file back to its owner, if this was the last guest that used it."""
    fd = os.open(owner.path, os.O_PATH | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if owner.inode and (status.st_dev, status.st_ino) != (owner.device, owner.inode):
            log.warning("%s is another file than at the start; its owner stays", owner.path)
            return
        named = f"/proc/self/fd/{fd}"
        if not last:
            owner_attributes.release(named)
            return
        if owner.grantee:
            access_lists.revoke(fd, owner.grantee)
            return
        os.chown(named, owner.uid, owner.gid)
        owner_attributes.forget(named)
        if owner.mode:
            mode = stat.S_IMODE(status.st_mode) & ~0o007 | owner.mode & 0o007
            os.chmod(named, mode)
    finally:
        os.close(fd)
