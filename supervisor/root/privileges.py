"""The privileges that each kind of process keeps, and dropping the others after the fork.

Owns: that table, and the system calls. May touch: the calling process's own privileges alone.
Source: capabilities(7).
"""

from __future__ import annotations

import ctypes
import os
from enum import StrEnum
from typing import Final

from supervisor.runtime.capabilities import (
    Capability,
    limit_bounding_set,
    limit_capabilities,
    mask_of,
)

NOBODY: Final = 65534
PR_SET_NO_NEW_PRIVS: Final = 38


class Privileges(StrEnum):
    """A set of privileges."""

    NONE = "none"  # user nobody, no capability: rpcd parses unauthenticated input
    FILES = "files"  # the daemon's user; files of any owner
    NETWORK = "network"  # FILES, networking, and what dnsmasq drops by itself
    STORAGE = "storage"  # FILES, mounts, block devices, and what their programs need
    LAUNCH = "launch"  # everything; the workers of QEMU give up what neither they nor it need


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


def drop_privileges(privileges: Privileges) -> None:
    """Drop all other privileges, for good; does nothing without root.

    Raises:
        OSError: the kernel refuses; the process must exit.
    """
    capabilities = CAPABILITIES[privileges]
    if os.geteuid() != 0 or capabilities is None:
        return
    limit_bounding_set(mask_of(capabilities))
    if privileges is Privileges.NONE:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    limit_capabilities(mask_of(capabilities))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs cannot be set")
