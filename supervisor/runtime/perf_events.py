"""Counters of the kernel's and the processor's for a thread and those that it makes.

Owns: opening and reading them. May touch: nothing else.
Source: perf_event_open(2); linux/perf_event.h.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import struct
from typing import Final

#: perf_event_open's number; libc has no function for it.
SYSCALLS: Final = {
    "x86_64": 298,
    "aarch64": 241,
    "riscv64": 241,
    "loongarch64": 241,
    "ppc64le": 319,
    "s390x": 331,
    "armv7l": 364,
    "i686": 336,
}
HARDWARE: Final = 0  # PERF_TYPE_HARDWARE
SOFTWARE: Final = 1  # PERF_TYPE_SOFTWARE
ATTRIBUTES: Final = struct.Struct("=IIQQQQQIIQ")  # struct perf_event_attr as of its first version
DISABLED: Final = 1 << 0
INHERIT: Final = 1 << 1
CLOSE_ON_EXEC: Final = 1 << 3  # PERF_FLAG_FD_CLOEXEC
ENABLE: Final = 0x2400  # PERF_EVENT_IOC_ENABLE
ANY_CPU: Final = -1
NO_GROUP: Final = -1


def open_counter(kind: int, config: int, thread: int) -> int:
    """Count an event of a thread, and of the threads that it makes from now on; a descriptor.

    Raises:
        OSError: the host does not count it, or the thread has exited.
    """
    number = SYSCALLS.get(platform.machine())
    if number is None:
        raise OSError(f"events cannot be counted on {platform.machine()}")
    flags = DISABLED | INHERIT
    attributes = ATTRIBUTES.pack(kind, ATTRIBUTES.size, config, 0, 0, 0, flags, 0, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    fd = int(libc.syscall(number, attributes, thread, ANY_CPU, NO_GROUP, CLOSE_ON_EXEC))
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    try:
        fcntl.ioctl(fd, ENABLE, 0)
    except OSError:
        os.close(fd)
        raise
    return fd


def read_counter(fd: int) -> int:
    """Read a counter."""
    return int.from_bytes(os.read(fd, 8), "little" if struct.pack("=H", 1)[0] else "big")
