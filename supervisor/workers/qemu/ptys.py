"""Which pty is a guest's: one whose master QEMU has open.

Owns: that check. May touch: /proc of QEMU; the pty that is opened.

QEMU names its ptys, and a guest may have taken it over: with the name of an administrator's
terminal a client of that guest would type there.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

DEVPTS: Final = "/dev/pts"
#: Device numbers of Unix 98 ptys' slaves (Documentation/admin-guide/devices.txt).
PTY_MAJORS: Final = range(136, 144)
INDEX: Final = "tty-index:"


def open_pty(path: str, pid: int) -> int:
    """Open a pty of a process.

    Raises:
        OSError: it is none of this host's ptys, or not that process's.
    """
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW)
    status = os.fstat(fd)
    if is_pty(status, os.stat(DEVPTS).st_dev) and has_master(pid, status):
        return fd
    os.close(fd)
    raise OSError(errno.ENOTTY, "it is no pty of the guest's QEMU", path)


def is_pty(status: os.stat_result, devpts: int) -> bool:
    """Return whether a file is a pty's slave on a devpts of that device number."""
    is_slave = stat.S_ISCHR(status.st_mode) and os.major(status.st_rdev) in PTY_MAJORS
    return is_slave and status.st_dev == devpts


def has_master(pid: int, slave: os.stat_result) -> bool:
    """Return whether a process has the master of a pty open.

    Where the kernel does not tell, the slave must be the process's user's, as devpts makes it.
    """
    try:
        masters = set(master_indexes(pid))
    except PermissionError:
        return slave.st_uid == Path(f"/proc/{pid}").stat().st_uid
    return slave_index(slave) in masters


def slave_index(slave: os.stat_result) -> int:
    """Return the number of a pty, as in /dev/pts/NUMBER."""
    return (os.major(slave.st_rdev) - PTY_MAJORS.start) * 256 + os.minor(slave.st_rdev)


def master_indexes(pid: int) -> Iterator[int]:
    """List the ptys whose masters a process has open. Source: proc(5), /proc/PID/fdinfo.

    Raises:
        PermissionError: this process may not look.
    """
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            lines = entry.read_text().splitlines()
        except FileNotFoundError:
            continue  # it was closed meanwhile
        yield from (int(line.split()[1]) for line in lines if line.startswith(INDEX))
