"""The owner of a file before guests used it, as libvirt's own daemon keeps it: with the file.

Owns: the file's extended attributes trusted.libvirt.security.*dac, which root alone can change.
May touch: those. May not touch: the owner (`supervisor.workers.file_owners`).
Source: libvirt 9.0, virSecuritySetRememberedLabel, virSecurityGetRememberedLabel.

This daemon restores owners from its records; it writes the attributes so that libvirt's restores
them where it takes over the guest. File systems without such attributes have none.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import Final

from supervisor.runtime.host import boot_time

PREFIX: Final = "trusted.libvirt.security."
OWNER: Final = f"{PREFIX}dac"
USERS: Final = f"{PREFIX}ref_dac"  # how many guests use the file
BOOT: Final = f"{PREFIX}timestamp_dac"  # the count is of this boot of the host
VALUE: Final = re.compile(rb"\+?(\d{1,10}):\+?(\d{1,10})\0?")


def remembered(path: str) -> tuple[int, int] | None:
    """Read the user and group that owned a file; None: it has no such attribute."""
    found = VALUE.fullmatch(_read(path, OWNER))
    return (int(found[1]), int(found[2])) if found else None


def remember(path: str, uid: int, gid: int) -> None:
    """Note the owner of a file that one more guest begins to use."""
    users = _users(path)
    with contextlib.suppress(OSError):
        if not users:
            os.setxattr(path, OWNER, f"+{uid}:+{gid}".encode())
            os.setxattr(path, BOOT, str(boot_time()).encode())
        os.setxattr(path, USERS, str(users + 1).encode())


def release(path: str) -> None:
    """Note that a guest has ended, though others use the file still."""
    users = _users(path)
    if users > 1:
        with contextlib.suppress(OSError):
            os.setxattr(path, USERS, str(users - 1).encode())


def forget(path: str) -> None:
    """Remove what is noted: no guest uses the file any more."""
    for name in (USERS, BOOT, OWNER):
        with contextlib.suppress(OSError):
            os.removexattr(path, name)


def _users(path: str) -> int:
    """Read how many guests use a file; 0: none in this boot of the host.

    Where there is no utmp, libvirt's time of the boot is rounded another way at each start.
    """
    count, boot = (_read(path, name).rstrip(b"\0")[:20] for name in (USERS, BOOT))
    is_now = boot.isdigit() and abs(int(boot) - boot_time()) <= 1
    return int(count) if count.isdigit() and is_now else 0


def _read(path: str, name: str) -> bytes:
    try:
        return os.getxattr(path, name)
    except OSError:
        return b""
