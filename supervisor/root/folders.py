"""Folders below /var/lib/libvirt/qemu that belong to root, whoever they belonged to before.

Owns: their owner and mode. May touch: nothing in them.

libvirt gives them to QEMU's user. A guest that has taken its QEMU over could then put a file of its
own in place of another guest's saved state or snapshot, which the daemon trusts, or a link in place
of a folder. QEMU needs no right to write there: each guest has a folder of its own. libvirt gives
them back to QEMU's user at its next start. Source: libvirt 9.0, qemuStateInitialize.
"""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from typing import Final

from supervisor.runtime.paths import Paths

FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
SEARCH: Final = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH

log = logging.getLogger(__name__)


def take_folders(paths: Paths) -> None:
    """Make root the owner of the folders that are there; a failure is logged."""
    if os.geteuid() != 0:
        return
    lib = paths.lib / "qemu"
    # The one above all comes first: what is in it cannot be replaced from then on.
    for folder in (lib, lib / "nvram", lib / "channel", lib / "channel/target", lib / "ram"):
        _take(folder, searched=True)
    for folder in (lib / "save", lib / "snapshot", lib / "checkpoint", lib / "dump"):
        _take(folder, searched=False)


def let_search(root: Path) -> None:
    """Let other users search the folder of --root, as they may search "/": QEMU's does.

    What is below has its own mode. A failure is logged: guests then do not start, and say why.
    """
    if os.geteuid() != 0:
        return
    try:
        mode = stat.S_IMODE(root.stat().st_mode)
        if mode & SEARCH != SEARCH:
            root.chmod(mode | SEARCH)
            log.info("%s may be searched by all users now: QEMU's reaches its guest's folder", root)
    except OSError as error:
        log.warning("%s may not be searched by QEMU's user: %s", root, error.strerror)


def _take(folder: Path, *, searched: bool) -> None:
    """Take one folder; QEMU's user may still search it if it reaches something below."""
    try:
        fd = os.open(folder, FOLDER)
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("%s is not root's alone: %s", folder, error.strerror)
        return
    try:
        status = os.fstat(fd)
        if status.st_uid == 0:
            return
        os.fchown(fd, 0, 0)
        mode = stat.S_IMODE(status.st_mode) & ~(stat.S_IWGRP | stat.S_IWOTH)
        os.fchmod(fd, mode | SEARCH if searched else mode)
        log.info("%s is root's now, it was user %d's", folder, status.st_uid)
    except OSError as error:
        log.warning("%s is not root's alone: %s", folder, error.strerror)
    finally:
        os.close(fd)
