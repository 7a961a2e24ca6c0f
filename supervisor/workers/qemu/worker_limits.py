"""What the worker of a QEMU gives up: capabilities and system calls that no QEMU needs.

Owns: those lists, and giving up. May touch: this process's capabilities, its filter of calls.

What the worker executes (QEMU, swtpm, virtiofsd) inherits both. A hook script is the
administrator's program and may need all of root's, to load a module, say. Where there are scripts,
programs that the worker executes can have every capability and make every call, and the worker
itself makes every call, for a filter cannot be taken off; where there are none, they have no more
than it has, nor have scripts that are installed while it runs.
"""

from __future__ import annotations

import contextlib
import logging
import os
from typing import Final

from supervisor.runtime.capabilities import (
    Capability,
    bounding_set,
    limit_bounding_set,
    limit_capabilities,
    mask_of,
    permitted_capabilities,
)
from supervisor.runtime.child import ChildProcess
from supervisor.runtime.hooks import Hooks
from supervisor.runtime.seccomp import deny
from supervisor.runtime.syscalls import SyscallGroup

KEPT: Final = frozenset(
    {
        # Files of any owner, owners of files, nodes in the guest's /dev.
        *(Capability.CHOWN, Capability.DAC_OVERRIDE, Capability.FOWNER, Capability.MKNOD),
        # QEMU's user and its signals; resource limits, scheduler, locked memory.
        *(Capability.SETUID, Capability.SETGID, Capability.KILL, Capability.SYS_RESOURCE),
        *(Capability.SYS_NICE, Capability.IPC_LOCK),
        # Mount namespaces and /proc/PID/root; filters of devices (BPF); counters (perf).
        *(Capability.SYS_ADMIN, Capability.SYS_CHROOT, Capability.SYS_PTRACE),
        *(Capability.BPF, Capability.NET_ADMIN, Capability.PERFMON),
        # virtiofsd, which drops the rest itself.
        *(Capability.SETPCAP, Capability.SETFCAP, Capability.FSETID, Capability.DAC_READ_SEARCH),
        Capability.AUDIT_WRITE,
    }
)

KEPT_MASK: Final = mask_of(KEPT)

#: Calls that neither the worker nor its programs need; migration, device filters, performance
#: counters, namespaces, mounts, io_uring and the keyring are theirs.
DENIED: Final = (
    SyscallGroup.TRACING,
    SyscallGroup.KERNEL,
    SyscallGroup.CLOCK,
    SyscallGroup.HOST,
)

log = logging.getLogger(__name__)


def limit_worker(process: ChildProcess) -> None:
    """Give up what no QEMU needs: modules, raw I/O, the clock, reboots, …; nothing without root.

    Call it before there are threads: capabilities and filters are each thread's.
    """
    if os.geteuid() != 0:
        return
    if not has_scripts(process):
        limit_bounding_set(KEPT_MASK)
        try:
            deny(DENIED)  # without no_new_privs: QEMU's bridge helper has its user's bit
        except OSError as error:
            log.info("%s: no system call is denied to it: %s", process.name, error)
    try:
        limit_capabilities(KEPT_MASK)
    except OSError as error:
        log.warning("%s: %s", process.name, error)


def has_scripts(process: ChildProcess) -> bool:
    """Return whether there are hook scripts for the worker's driver."""
    paths = process.paths.for_driver(process.driver)
    return bool(Hooks(paths.hook(process.driver)).scripts())


def rehearse_limits(process: ChildProcess) -> None:
    """Do what `limit_worker` does, but for giving anything up: see `rehearsal`."""
    has_scripts(process)
    bounding_set()
    with contextlib.suppress(OSError):
        permitted_capabilities()
