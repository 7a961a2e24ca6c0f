"""What a process of ours is confined to after its fork: privileges, system calls, network.

Owns: the order of that. May touch: the calling process, which has one thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import Final

import msgspec

from supervisor.root.privileges import Privileges, drop_privileges
from supervisor.runtime.seccomp import allow_only_listed, deny
from supervisor.runtime.syscalls import SyscallGroup

CLONE_NEWNET: Final = 0x40000000
OWN_NETWORK: Final = "/proc/self/ns/net"


class Confinement(msgspec.Struct, frozen=True, kw_only=True):
    """What a role is confined to."""

    privileges: Privileges
    denied: tuple[SyscallGroup, ...] = ()  # system calls that it never needs
    listed: bool = False  # instead: it may make the calls of `allowed_syscalls` alone
    network: bool = True  # False: it has the sockets that it is given, and reaches no host


class EmptyNetwork:
    """A network namespace without interfaces, for all processes that need none."""

    def __init__(self) -> None:
        self._fd = -1
        self.refusal = ""  # why there is none

    def prepare(self) -> None:
        """Make it, once; the calling process stays in its own."""
        if self._fd >= 0 or self.refusal or os.geteuid() != 0:
            return
        libc = ctypes.CDLL(None, use_errno=True)
        own = os.open(OWN_NETWORK, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if libc.unshare(CLONE_NEWNET) != 0:
                self.refusal = os.strerror(ctypes.get_errno())
                return
            self._fd = os.open(OWN_NETWORK, os.O_RDONLY | os.O_CLOEXEC)
            if libc.setns(own, CLONE_NEWNET) != 0:
                # Every process that is forked later would have no network.
                raise OSError(ctypes.get_errno(), "the host's network cannot be entered again")
        finally:
            os.close(own)

    def enter(self) -> None:
        """Move the calling process there, if there is one.

        Raises:
            OSError: the kernel refuses.
        """
        if self._fd < 0:
            return
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(self._fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "the empty network cannot be entered")
        self.close()

    def close(self) -> None:
        """Close the descriptor of it."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = -1


def confine(confinement: Confinement, network: EmptyNetwork) -> list[str]:
    """Confine the calling process, for good; does nothing without root.

    Returns:
        What the kernel lacks, or does not let us do, for the log.

    Raises:
        OSError: privileges cannot be dropped; the process must exit.
    """
    if os.geteuid() != 0:
        return []
    lacking: list[str] = []
    if not confinement.network:
        try:
            network.enter()
        except OSError as error:
            lacking.append(f"it has the host's network: {error}")
        if network.refusal:
            lacking.append(f"it has the host's network: {network.refusal}")
    network.close()
    drop_privileges(confinement.privileges)
    if confinement.denied or confinement.listed:
        try:
            if confinement.listed:
                allow_only_listed()
            else:
                deny(confinement.denied)
        except OSError as error:
            lacking.append(f"no system call is denied to it: {error}")
    return lacking
