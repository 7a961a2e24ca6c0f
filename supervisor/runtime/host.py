"""The host's architecture and boot, as libvirt and the kernel name them.

Owns: nothing. May touch: uname(2) and /proc/sys/kernel/random/boot_id, to read.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import Final

#: Machines of uname(2) that libvirt calls by another name (virArch).
ALIASES: Final = {"i386": "i686", "i586": "i686", "armv7": "armv7l"}
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def host_arch() -> str:
    """Return the host's architecture by libvirt's name."""
    machine = platform.machine()
    return ALIASES.get(machine, machine)


@cache
def boot_id() -> str:
    """Read the UUID of this boot: a pid and start time name a process only within one boot."""
    return BOOT_ID.read_text().strip()
