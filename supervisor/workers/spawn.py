"""Spawn a guest's emulator: its session, resource limits, user and log.

Owns: fork and exec. May touch: the new process; the worker's own limits while it is spawned.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import resource
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from conf.settings import QemuConfig
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.runtime.emulator_user import User, is_unnamed_default, supplementary_groups
from supervisor.runtime.memory_policy import MemoryPolicy, MemoryPolicyError, own_memory_policy

UNLIMITED: Final = "unlimited"
#: A shell that executes its arguments when a line comes from its input, and exits at the input's
#: end: when the process that would send the line has died. Its last word begins its own errors.
HOLD: Final = ("/bin/sh", "-c", 'read -r _ && exec "$@" </dev/null', "cannot execute binary")

log = logging.getLogger(__name__)


#: What libvirt calls each limit in its message, and where it comes from.
RLIMITS: Final = {
    resource.RLIMIT_CORE: ("core file size", "max_core in qemu.conf"),
    resource.RLIMIT_NPROC: ("number of subprocesses", "max_processes in qemu.conf"),
    resource.RLIMIT_NOFILE: ("number of open files", "max_files in qemu.conf"),
    resource.RLIMIT_MEMLOCK: ("locked memory", "<locked/> or <hard_limit>"),
}


@dataclass(frozen=True, slots=True)
class Spawning:
    """Everything that exec takes."""

    argv: Sequence[str]
    environ: Mapping[str, str]
    fds: Sequence[int]
    log_fd: int  # standard output and error
    user: User
    rlimits: Mapping[int, int] = field(default_factory=dict)  # soft and hard, by RLIMIT_…
    memory_policy: MemoryPolicy | None = None  # None: the kernel's


def warn_of_missing_user(domain: str, user: User) -> None:
    """Log that QEMU runs by libvirt-qemu's number as the host has no such user."""
    if is_unnamed_default(user):
        log.warning(
            "QEMU of domain '%s' runs as %d:%d: this host has no user 'libvirt-qemu'. "
            "Create it (adduser --system --group --no-create-home libvirt-qemu), or set user and "
            "group in qemu.conf; domains that are started afterwards use it",
            domain,
            user.uid,
            user.gid,
        )


def check_reachable(folder: Path, user: User) -> None:
    """Refuse a folder of QEMU's that its user cannot come to.

    QEMU would say so itself, but of the first file that it opens there.

    Raises:
        VirError: SYSTEM_ERROR naming the folder on the way that keeps it out.
    """
    if user.is_own:
        return
    groups = supplementary_groups(user)
    for parent in reversed(folder.parents):
        if not may_search(parent.stat(), user.uid, groups) and not has_acl(parent):
            detail = (
                f"QEMU's user {user.name or user.uid} may not search '{parent}', in which "
                f"'{folder}' is: Permission denied"
            )
            raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.QEMU)


def may_search(status: os.stat_result, uid: int, groups: Sequence[int]) -> bool:
    """Return whether the mode of a folder lets a user search it."""
    if uid == 0:
        return True
    if status.st_uid == uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid in groups:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def has_acl(folder: Path) -> bool:
    """Return whether an access control list may let more users in than the mode."""
    try:
        return bool(os.getxattr(folder, "system.posix_acl_access"))
    except OSError:  # ENODATA, or a file system without lists
        return False


def rlimits_of(config: QemuConfig) -> dict[int, int]:
    """Read the resource limits of qemu.conf; 0 leaves the number of processes or files alone.

    Raises:
        VirError: CONFIG_UNSUPPORTED: max_core is neither a number nor "unlimited".
    """
    limits = {resource.RLIMIT_CORE: _core_limit(config.max_core)}
    if config.max_processes:
        limits[resource.RLIMIT_NPROC] = config.max_processes
    if config.max_files:
        limits[resource.RLIMIT_NOFILE] = config.max_files
    return limits


def _core_limit(text: str) -> int:
    """Read max_core: bytes, or "unlimited". Libvirt's default is that QEMU dumps no core."""
    if text == UNLIMITED:
        return resource.RLIM_INFINITY
    if not text:
        return 0
    if text.isdigit():
        return int(text)
    detail = f"max_core in qemu.conf is '{text}': it takes a number of bytes or \"unlimited\""
    raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.QEMU)


@dataclass(slots=True)
class HeldProcess:
    """A process that executes the emulator when it is released.

    Until then it is a shell that waits: it can be moved to its cgroup before it has threads and
    memory. It exits if this process ends or closes it without releasing it.
    """

    pid: int
    _go: int = -1  # the end of a pipe; -1: it is not held

    def release(self) -> None:
        """Let it execute the emulator; a process that has been killed meanwhile is no error."""
        if self._go >= 0:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._go, b"go\n")
        self.close()

    def close(self) -> None:
        """Close the pipe."""
        if self._go >= 0:
            os.close(self._go)
            self._go = -1


def spawn_held(spawning: Spawning) -> HeldProcess:
    """Start a process that executes the emulator once it is released.

    Raises:
        VirError: as `spawn`.
    """
    binary = spawning.argv[0]
    if not os.access(binary, os.X_OK):
        detail = f"cannot execute binary {binary}: {os.strerror(errno.ENOENT)}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU)
    waiting, go = os.pipe2(os.O_CLOEXEC)
    try:
        pid = _spawn(spawning, (*HOLD, *spawning.argv), waiting)
    except BaseException:
        os.close(go)
        raise
    finally:
        os.close(waiting)
    return HeldProcess(pid, go)


def spawn(spawning: Spawning) -> int:
    """Start the emulator in a session of its own; its pid.

    Raises:
        VirError: INTERNAL_ERROR: it cannot be executed; SYSTEM_ERROR: it cannot have its limits.
    """
    return _spawn(spawning, spawning.argv, subprocess.DEVNULL)


def _spawn(spawning: Spawning, argv: Sequence[str], stdin: int) -> int:
    user = spawning.user
    switch = not user.is_own
    try:
        with _own_rlimits(spawning.rlimits), own_memory_policy(spawning.memory_policy):
            process = subprocess.Popen(
                argv,
                env=spawning.environ,
                stdin=stdin,
                stdout=spawning.log_fd,
                stderr=spawning.log_fd,
                pass_fds=spawning.fds,
                cwd="/",
                start_new_session=True,
                user=user.uid if switch else None,
                group=user.gid if switch else None,
                extra_groups=supplementary_groups(user) if switch else None,
            )
    except MemoryPolicyError as error:
        raise VirError(ErrorCode.SYSTEM_ERROR, str(error), ErrorDomain.QEMU) from error
    except OSError as error:
        detail = f"cannot execute binary {argv[0]}: {error.strerror}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU) from error
    process.returncode = 0  # its exit is seen by a pidfd, not by this object
    return process.pid


@contextlib.contextmanager
def _own_rlimits(rlimits: Mapping[int, int]) -> Iterator[None]:
    """Set this process's limits, which a child inherits, and set them back.

    Only CAP_SYS_RESOURCE may change the limits of another user's process, so they
    are set before the child changes its user. Lowering one's own takes no capability; setting a
    hard limit back does, and without it the worker keeps the lower one, which it can live with.

    Raises:
        VirError: SYSTEM_ERROR: the kernel refuses to raise a limit.
    """
    before = {which: resource.getrlimit(which) for which in rlimits}
    try:
        for which, value in rlimits.items():
            if before[which] != (value, value):
                _set_rlimit(which, value)
        yield
    finally:
        for which, limits in before.items():
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(which, limits)


def _set_rlimit(which: int, value: int) -> None:
    try:
        resource.setrlimit(which, (value, value))
    except (OSError, ValueError) as error:  # ValueError is Python's for EPERM and EINVAL
        name, origin = RLIMITS[which]
        limit = "unlimited" if value == resource.RLIM_INFINITY else value
        detail = (
            f"cannot limit {name} to {limit}: {error}; change {origin}, or give the daemon "
            "CAP_SYS_RESOURCE"
        )
        raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.QEMU) from error
