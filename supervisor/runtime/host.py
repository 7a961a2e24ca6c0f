"""The host's architecture and boot, as libvirt and the kernel name them.

Owns: nothing. May touch: uname(2), /proc/sys/kernel/random/boot_id, /proc/uptime and utmp, to read.
"""

from __future__ import annotations

import platform
import struct
import time
from functools import cache
from pathlib import Path
from typing import Final

#: Machines of uname(2) that libvirt calls by another name (virArch).
ALIASES: Final = {"i386": "i686", "i586": "i686", "armv7": "armv7l"}
UTMP: Final = Path("/var/run/utmp")
UTMP_RECORD: Final = 384  # bytes, of struct utmp; its type is first, its time 340 bytes on
BOOT_RECORD: Final = 2  # BOOT_TIME
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def host_arch() -> str:
    """Return the host's architecture by libvirt's name."""
    machine = platform.machine()
    return ALIASES.get(machine, machine)


@cache
def boot_id() -> str:
    """Read the UUID of this boot: a pid and start time name a process only within one boot."""
    return BOOT_ID.read_text().strip()


@cache
def boot_time() -> int:
    """Return when this boot began, in seconds since the epoch, as libvirt counts it.

    Source: libvirt 9.0, virHostGetBootTime: what utmp says, else the clock and the uptime.
    """
    try:
        data = UTMP.read_bytes()
    except OSError:
        data = b""
    for start in range(0, len(data) - UTMP_RECORD + 1, UTMP_RECORD):
        if struct.unpack_from("=h", data, start)[0] == BOOT_RECORD:
            return int(struct.unpack_from("=i", data, start + 340)[0])
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return int(time.time() - uptime + 0.5)
