"""Capabilities of the calling thread: which it has, and giving up the others for good.

Owns: the numbers and the system calls. Which process keeps which is its role's.
Source: capabilities(7), linux/capability.h.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from enum import IntEnum
from typing import Final

PR_CAPBSET_READ: Final = 23
PR_CAPBSET_DROP: Final = 24
CAPABILITY_VERSION: Final = 0x20080522
LAST_CAPABILITY: Final = 63
LIBC: Final = ctypes.CDLL(None, use_errno=True)


class Capability(IntEnum):
    """The numbers of linux/capability.h that some process keeps."""

    CHOWN = 0
    DAC_OVERRIDE = 1
    DAC_READ_SEARCH = 2
    FOWNER = 3
    FSETID = 4
    KILL = 5
    SETGID = 6
    SETUID = 7
    SETPCAP = 8
    NET_BIND_SERVICE = 10
    NET_BROADCAST = 11
    NET_ADMIN = 12
    NET_RAW = 13
    IPC_LOCK = 14
    SYS_RAWIO = 17
    SYS_CHROOT = 18
    SYS_PTRACE = 19
    SYS_ADMIN = 21
    SYS_NICE = 23
    SYS_RESOURCE = 24
    MKNOD = 27
    AUDIT_WRITE = 29
    SETFCAP = 31
    PERFMON = 38
    BPF = 39


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def permitted_capabilities() -> int:
    """Return the mask of what this thread may use.

    Raises:
        OSError: the kernel does not say.
    """
    data = (_Data * 2)()
    if LIBC.capget(ctypes.byref(_Header(CAPABILITY_VERSION, 0)), ctypes.byref(data)) != 0:
        raise OSError(ctypes.get_errno(), "capabilities cannot be read")
    return int(data[0].permitted | data[1].permitted << 32)


def mask_of(capabilities: Iterable[Capability]) -> int:
    """Return the mask of a set."""
    return sum(1 << capability for capability in capabilities)


def names_of(mask: int) -> list[str]:
    """Name those of a mask that some process keeps."""
    return [f"CAP_{capability.name}" for capability in Capability if mask >> capability & 1]


def lacking_capabilities() -> list[str]:
    """Name what some process of ours would keep and this one does not have.

    Raises:
        OSError: as `permitted_capabilities`.
    """
    return names_of(mask_of(Capability) & ~permitted_capabilities())


def limit_bounding_set(kept: int) -> None:
    """Let no program that this thread executes have others than a mask's; needs CAP_SETPCAP."""
    for number in range(LAST_CAPABILITY + 1):
        if not kept >> number & 1:  # EINVAL beyond the kernel's last capability is ignored
            LIBC.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)


def bounding_set() -> int:
    """Return the mask of what a program of root's that this thread executes may have."""
    return sum(
        1 << number
        for number in range(LAST_CAPABILITY + 1)
        if LIBC.prctl(PR_CAPBSET_READ, number, 0, 0, 0) == 1
    )


def limit_capabilities(kept: int) -> None:
    """Give up all others than a mask's.

    A container may have less than these, and runs without what needs it.

    Raises:
        OSError: the kernel refuses.
    """
    mask = kept & permitted_capabilities()
    low, high = mask & 0xFFFFFFFF, mask >> 32
    data = (_Data * 2)(_Data(low, low, 0), _Data(high, high, 0))
    if LIBC.capset(ctypes.byref(_Header(CAPABILITY_VERSION, 0)), ctypes.byref(data)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"capabilities cannot be dropped: {os.strerror(number)}")
