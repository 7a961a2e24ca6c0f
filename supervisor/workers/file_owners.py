"""Files that a guest is given: theirs while it runs, then whose they were before.

Owns: changing hands, and remembering. May touch: files that the guest's document names.
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
from supervisor.workers.spawn import User

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChownedFile:
    """A file that the emulator must be able to open."""

    path: str
    restored: bool = True  # whether it goes back; what several guests share does not


def chown_for_guest(files: Iterable[ChownedFile], user: User) -> list[Owner]:
    """Give files to the emulator's user; whose they were.

    Raises:
        VirError: SYSTEM_ERROR naming the file; those given already are given back.
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
    """Give one file; None when it is theirs already or not there (the emulator will say so)."""
    try:
        fd = os.open(file.path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(fd)
        if (status.st_uid, status.st_gid) == (user.uid, user.gid) or not _is_chownable(status):
            return None
        os.chown(f"/proc/self/fd/{fd}", user.uid, user.gid)
        return Owner(file.path, status.st_uid, status.st_gid)
    finally:
        os.close(fd)


def _is_chownable(status: os.stat_result) -> bool:
    mode = status.st_mode
    return stat.S_ISREG(mode) or stat.S_ISBLK(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)


def restore(owners: Iterable[Owner]) -> None:
    """Give files back to whose they were; one that has gone is no matter."""
    for owner in owners:
        with contextlib.suppress(FileNotFoundError):
            try:
                os.chown(owner.path, owner.uid, owner.gid)
            except OSError as error:
                log.warning("%s cannot be given back: %s", owner.path, error)
