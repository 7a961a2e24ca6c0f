"""What a child of the root gives up before it begins its work.

Owns: the privileges of each kind of process, as data, and dropping them.
May touch: the calling process's own privileges alone.
"""

from __future__ import annotations

import ctypes
import os
from enum import IntEnum, StrEnum
from typing import Final

NOBODY: Final = 65534
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38
CAPABILITY_VERSION: Final = 0x20080522
LAST_CAPABILITY: Final = 63


class Capability(IntEnum):
    """Those of linux/capability.h that some process keeps."""

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
    """What a process keeps."""

    NONE = "none"  # nobody's user, no capability: it parses what strangers send
    FILES = "files"  # the daemon's user, and files below its folders whoever's they are
    NETWORK = "network"  # files, the kernel's networking, and what dnsmasq gives up by itself
    STORAGE = "storage"  # files, mounts and block devices, and programs that work on these
    LAUNCH = "launch"  # all that launching guests and running hook scripts takes


#: None: everything is kept.
CAPABILITIES: Final[dict[Privileges, frozenset[Capability] | None]] = {
    Privileges.NONE: frozenset(),
    Privileges.FILES: frozenset({Capability.CHOWN, Capability.DAC_OVERRIDE, Capability.FOWNER}),
    Privileges.NETWORK: frozenset(
        {
            *(Capability.CHOWN, Capability.DAC_OVERRIDE, Capability.FOWNER),
            *(Capability.NET_ADMIN, Capability.NET_RAW, Capability.NET_BROADCAST),
            # dnsmasq: its ports below 1024, changing to its own user, and netd ending it then
            *(Capability.NET_BIND_SERVICE, Capability.SETUID, Capability.SETGID, Capability.KILL),
        }
    ),
    Privileges.STORAGE: frozenset(
        {
            *(Capability.CHOWN, Capability.DAC_OVERRIDE, Capability.FOWNER),
            *(Capability.SYS_ADMIN, Capability.SYS_RAWIO, Capability.MKNOD),
            # LVM locks its memory and raises its priority; iscsiadm and mount.nfs reach servers
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


def drop_privileges(privileges: Privileges) -> None:
    """Give up all but these rights; nothing to do without root.

    Raises:
        OSError: the kernel refuses; the process must not go on.
    """
    capabilities = CAPABILITIES[privileges]
    if os.geteuid() != 0 or capabilities is None:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in range(LAST_CAPABILITY + 1):
        if capability not in capabilities:  # the kernel refuses those beyond the last one it has
            libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    if privileges is Privileges.NONE:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    mask = sum(1 << capability for capability in capabilities)  # all of them lie in the first half
    data = (_Data * 2)(_Data(mask, mask, 0), _Data(0, 0, 0))
    if libc.capset(ctypes.byref(_Header(CAPABILITY_VERSION, 0)), ctypes.byref(data)) != 0:
        raise OSError(ctypes.get_errno(), "capabilities cannot be dropped")
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs cannot be set")
