"""Runs lxc-start so that the container's init inherits files of a client, from descriptor 3 on.

Owns: the numbers of the descriptors. May touch: the program while it runs.
Source: libvirt 9.0, virDomainCreateWithFiles.

liblxc 5.0 keeps the descriptors up to LISTEN_FDS, and closes all others. Its monitor keeps them,
too, as long as the container lives: what is at their other ends sees no end of file before.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator, Sequence
from typing import Final

from supervisor.workers.lxc.liblxc import ENVIRONMENT

FIRST: Final = 3


async def run_with_files(
    command: Sequence[str], files: Sequence[int], log_fd: int, timeout_s: float
) -> int:
    """Run a program to its exit; what it says is in the container's log.

    Args:
        command: its path and arguments.
        files: the descriptors that it inherits as 3, 4 and so on; they stay the caller's.
        log_fd: its standard output and error.
        timeout_s: after that it is killed.

    Returns:
        Its exit status; negative: the signal that killed it.

    Raises:
        OSError: it cannot be executed.
    """
    pid = _spawn(list(command), files, log_fd)
    waiting = asyncio.create_task(asyncio.to_thread(os.waitpid, pid, 0))
    try:
        async with asyncio.timeout(timeout_s):
            _, status = await asyncio.shield(waiting)
    except BaseException as error:
        os.killpg(pid, signal.SIGKILL)
        _, status = await waiting
        if not isinstance(error, TimeoutError):
            raise
    return os.waitstatus_to_exitcode(status)


def _spawn(command: list[str], files: Sequence[int], log_fd: int) -> int:
    # liblxc 5.0 takes it for the highest number that it keeps.
    environment = {**ENVIRONMENT, "LISTEN_FDS": str(FIRST + len(files) - 1)}
    with _out_of_the_way(files) as copies:
        actions = [(os.POSIX_SPAWN_DUP2, log_fd, fd) for fd in (1, 2)]
        actions += [(os.POSIX_SPAWN_DUP2, fd, FIRST + n) for n, fd in enumerate(copies)]
        return os.posix_spawn(command[0], command, environment, file_actions=actions, setsid=True)


@contextlib.contextmanager
def _out_of_the_way(files: Sequence[int]) -> Iterator[list[int]]:
    """Copy descriptors to numbers that none of them is to have: a copy would overwrite another."""
    copies: list[int] = []
    try:
        for fd in files:
            copies.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST + len(files)))
        yield copies
    finally:
        for fd in copies:
            os.close(fd)
