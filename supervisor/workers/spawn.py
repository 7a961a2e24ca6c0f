"""Starting a guest's emulator: its own session, limits, user, cgroup and log.

Owns: fork and exec. May touch: the new process alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import logging
import os
import pwd
import resource
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conf.settings import QemuConfig
from rpc.errors import ErrorCode, ErrorDomain, VirError

UNIFIED: Final = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
CGROUP_S: Final = 5.0
SLICE: Final = "virtvisor.slice"
UNLIMITED_WORDS: Final = ("unlimited", "")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class User:
    """Who the emulator runs as."""

    uid: int
    gid: int
    name: str

    @property
    def is_own(self) -> bool:
        """Whether it is who we are: nothing changes hands then."""
        return self.uid == os.geteuid()


@dataclass(frozen=True, slots=True)
class Spawning:
    """Everything that exec takes."""

    argv: Sequence[str]
    environ: Mapping[str, str]
    fds: Sequence[int]
    log_fd: int  # standard output and error
    user: User


def emulator_user(config: QemuConfig, label: str = "") -> User:
    """Who an emulator runs as.

    Args:
        config: qemu.conf; without its word, libvirt-qemu where there is such a user, else we.
        label: the document's own "USER:GROUP", which counts first.

    Raises:
        VirError: CONFIG_UNSUPPORTED: a user or group is named that there is not.
    """
    own = User(os.geteuid(), os.getegid(), "")
    if own.uid != 0:
        return own
    user, _, group = label.partition(":") if label else (config.user, "", config.group)
    try:
        return _user(user, group) or own
    except (KeyError, ValueError) as error:
        where = f"the label '{label}'" if label else "qemu.conf"
        detail = f"{where} names a user or group that the host does not have: {error}"
        raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.QEMU) from error


def _user(name: str, group: str) -> User | None:
    if not name:
        try:
            entry = pwd.getpwnam("libvirt-qemu")
        except KeyError:
            return None
    elif name.lstrip("+").isdigit():
        number = int(name.lstrip("+"))
        try:
            entry = pwd.getpwuid(number)
        except KeyError:
            return User(number, _gid(group, number), "")
    else:
        entry = pwd.getpwnam(name)
    return User(entry.pw_uid, _gid(group, entry.pw_gid), entry.pw_name)


def _gid(group: str, default: int) -> int:
    if not group:
        return default
    word = group.lstrip("+")
    return int(word) if word.isdigit() else grp.getgrnam(group).gr_gid


def spawn(spawning: Spawning) -> int:
    """Start the emulator; its number. It is a session's leader and no one's to end but ours.

    Raises:
        VirError: INTERNAL_ERROR: it cannot be executed.
    """
    user = spawning.user
    switch = not user.is_own
    groups = os.getgrouplist(user.name, user.gid) if switch and user.name else None
    try:
        process = subprocess.Popen(
            spawning.argv,
            env=spawning.environ,
            stdin=subprocess.DEVNULL,
            stdout=spawning.log_fd,
            stderr=spawning.log_fd,
            pass_fds=spawning.fds,
            cwd="/",
            start_new_session=True,
            user=user.uid if switch else None,
            group=user.gid if switch else None,
            extra_groups=groups if switch else None,
        )
    except OSError as error:
        detail = f"cannot execute binary {spawning.argv[0]}: {error.strerror}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU) from error
    process.returncode = 0  # whose end is seen through a pidfd, not here
    return process.pid


def set_rlimits(pid: int, config: QemuConfig) -> None:
    """Set the limits of qemu.conf.

    Raises:
        OSError, ValueError: they cannot be set.
    """
    core = resource.RLIM_INFINITY if config.max_core in UNLIMITED_WORDS else int(config.max_core)
    for which, value in (
        (resource.RLIMIT_NPROC, config.max_processes),
        (resource.RLIMIT_NOFILE, config.max_files),
    ):
        if value:
            resource.prlimit(pid, which, (value, value))
    if os.geteuid() == 0:
        resource.prlimit(pid, resource.RLIMIT_CORE, (core, core))


async def move_to_cgroup(pid: int, group: str) -> None:
    """Put the emulator into a cgroup of its own.

    The kernel takes 10 to 20 ms for that, so a thread of its own waits, and then ends.
    """
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def work() -> None:
        _separate(pid, group)
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=work, name="cgroup", daemon=True).start()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CGROUP_S):
            await done.wait()


def _separate(pid: int, group: str) -> Path | None:
    """Do it, where that is simple; the folder if it was.

    Simple is: version 2, and a hierarchy that we may write. On version 1, or where the service
    manager keeps the tree to itself, the emulator stays in our group.
    """
    root = next((path for path in UNIFIED if (path / "cgroup.procs").exists()), None)
    if root is None or os.geteuid() != 0:
        log.debug("no cgroup for %s: there is no version 2 hierarchy that we may write", group)
        return None
    folder = root / SLICE / group
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup.procs").write_text(str(pid))
    except OSError as error:
        log.debug("no cgroup for %s: %s", group, error)
        with contextlib.suppress(OSError):
            folder.rmdir()
        return None
    return folder


def remove_cgroup(group: str) -> None:
    """Remove a guest's cgroup; one that is not there is no error."""
    for root in UNIFIED:
        with contextlib.suppress(OSError):
            (root / SLICE / group).rmdir()
            (root / SLICE).rmdir()  # refused while another guest has its own in it
