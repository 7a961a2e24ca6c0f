"""The privileges that each kind of process keeps, and dropping the others after the fork.

Owns: that table, and the system calls. May touch: the calling process's own privileges alone.
Source: capabilities(7).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from enum import IntEnum, StrEnum
from typing import Final

NOBODY: Final = 65534
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38
CAPABILITY_VERSION: Final = 0x20080522
LAST_CAPABILITY: Final = 63


class Capability(IntEnum):
    """The numbers of linux/capability.h that some process keeps."""

    CHOWN = 0
    DAC_OVERRIDE = 1
    FOWNER = 3
    KILL = 5
    SETGID = 6
    SETUID = 7
    NET_BIND_SERVICE = 10
    NET_BROADCAST = 11
    NET_ADMIN = 12
    NET_RAW = 13
    IPC_LOCK = 14
    SYS_RAWIO = 17
    SYS_ADMIN = 21
    SYS_NICE = 23
    MKNOD = 27


class Privileges(StrEnum):
    """A set of privileges."""

    NONE = "none"  # user nobody, no capability: rpcd parses unauthenticated input
    FILES = "files"  # the daemon's user; files of any owner
    NETWORK = "network"  # FILES, networking, and what dnsmasq drops by itself
    STORAGE = "storage"  # FILES, mounts, block devices, and what their programs need
    LAUNCH = "launch"  # everything: workers start guests and run hook scripts


#: None: all capabilities are kept.
CAPABILITIES: Final[dict[Privileges, frozenset[Capability] | None]] = {
    Privileges.NONE: frozenset(),
    Privileges.FILES: frozenset({Capability.CHOWN, Capability.DAC_OVERRIDE, Capability.FOWNER}),
    Privileges.NETWORK: frozenset(
        {
            *(Capability.CHOWN, Capability.DAC_OVERRIDE, Capability.FOWNER),
            *(Capability.NET_ADMIN, Capability.NET_RAW, Capability.NET_BROADCAST),
            # dnsmasq: ports below 1024, setuid to its own user; netd: SIGTERM to it then
            *(Capability.NET_BIND_SERVICE, Capability.SETUID, Capability.SETGID, Capability.KILL),
        }
    ),
    Privileges.STORAGE: frozenset(
        {
            *(Capability.CHOWN, Capability.DAC_OVERRIDE, Capability.FOWNER),
            *(Capability.SYS_ADMIN, Capability.SYS_RAWIO, Capability.MKNOD),
            # LVM: mlock and nice; iscsiadm and mount.nfs: reserved ports
            *(Capability.IPC_LOCK, Capability.SYS_NICE, Capability.NET_BIND_SERVICE),
        }
    ),
    Privileges.LAUNCH: None,
}


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def permitted_capabilities(libc: ctypes.CDLL) -> frozenset[Capability]:
    """Return which of the known capabilities this process may use.

    Raises:
        OSError: the kernel does not say.
    """
    data = (_Data * 2)()
    if libc.capget(ctypes.byref(_Header(CAPABILITY_VERSION, 0)), ctypes.byref(data)) != 0:
        raise OSError(ctypes.get_errno(), "capabilities cannot be read")
    permitted = data[0].permitted | data[1].permitted << 32
    return frozenset(capability for capability in Capability if permitted >> capability & 1)


def _set_capabilities(libc: ctypes.CDLL, capabilities: Iterable[Capability]) -> None:
    mask = sum(1 << capability for capability in capabilities)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    data = (_Data * 2)(_Data(low, low, 0), _Data(high, high, 0))
    if libc.capset(ctypes.byref(_Header(CAPABILITY_VERSION, 0)), ctypes.byref(data)) != 0:
        raise OSError(ctypes.get_errno(), "capabilities cannot be dropped")


def drop_privileges(privileges: Privileges) -> None:
    """Drop all other privileges, for good; does nothing without root.

    Raises:
        OSError: the kernel refuses; the process must exit.
    """
    capabilities = CAPABILITIES[privileges]
    if os.geteuid() != 0 or capabilities is None:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in range(LAST_CAPABILITY + 1):
        if capability not in capabilities:  # EINVAL beyond the kernel's last capability is ignored
            libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    if privileges is Privileges.NONE:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    # A container may have less than the role would keep, and runs without what needs it.
    _set_capabilities(libc, capabilities & permitted_capabilities(libc))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs cannot be set")
