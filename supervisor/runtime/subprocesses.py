"""Run the host's programs to their exit: an argument list, standard input, a deadline.

Owns: the child processes while they run. Each has a session of its own, and is killed with all
that it started when its deadline passes or when the task that waits for it is cancelled.
May not touch: what the programs do. What a failure means is the caller's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SEARCH_PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"  # a service's PATH may lack sbin
#: Put before a program that must not outlive its parent: the kernel kills it then (prctl(2)).
PDEATHSIG_WRAPPER: Final = ("setpriv", "--pdeathsig", "KILL", "--")
# uvloop leaves a child open descriptors beyond its three streams, and LVM's programs would warn of
# each on standard error, in front of their own message.
ENVIRONMENT: Final = {"PATH": SEARCH_PATH, "LC_ALL": "C", "LVM_SUPPRESS_FD_WARNINGS": "1"}
REAPED_S: Final = 2.0  # wait after SIGKILL; a process in uninterruptible sleep is left behind

#: Makes a context manager around the wait for the process of a pid.
WaitWrapper = Callable[[int], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class CompletedProgram:
    """An exited program."""

    code: int  # exit status; negative: the signal that killed it
    output: str
    errors: str

    @property
    def output_text(self) -> str:
        """Standard error, else standard output, else the exit status: for messages."""
        return self.errors.strip() or self.output.strip() or f"exit status {self.code}"


def no_wrapper(_: int) -> AbstractContextManager[None]:
    """Put nothing around the wait."""
    return nullcontext()


async def run(
    argv: Sequence[str | Path],
    *,
    deadline_s: float,
    stdin: bytes = b"",
    pass_fds: Sequence[int] = (),
    wait_wrapper: WaitWrapper = no_wrapper,
    environment: Mapping[str, str] = ENVIRONMENT,
) -> CompletedProgram:
    """Run a program to its exit.

    Args:
        argv: the program's name or path, and its arguments.
        deadline_s: it is killed after so many seconds.
        stdin: the bytes on its standard input.
        pass_fds: descriptors that it inherits under the same numbers.
        wait_wrapper: called with the pid; its context manager lasts as long as the wait.
        environment: its variables.

    Raises:
        OSError: it cannot be executed.
        TimeoutError: it did not exit in time.
    """
    with _stdin_file(stdin) as stdin_fd:
        spawning = asyncio.create_task(
            asyncio.create_subprocess_exec(
                *argv,
                stdin=stdin_fd,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=dict(environment),
                cwd="/",
                start_new_session=True,
                pass_fds=tuple(pass_fds),
            )
        )
        try:
            child = await asyncio.shield(spawning)
        except asyncio.CancelledError:
            with contextlib.suppress(OSError):
                await _kill(await spawning)  # it was started all the same, and would run on
            raise
    try:
        with wait_wrapper(child.pid):
            async with asyncio.timeout(deadline_s):
                output, errors = await child.communicate()
    finally:
        if child.returncode is None:
            await _kill(child)
    code = child.returncode if child.returncode is not None else -1
    return CompletedProgram(code, output.decode(errors="replace"), errors.decode(errors="replace"))


@contextlib.contextmanager
def _stdin_file(data: bytes) -> Iterator[int]:
    """Put standard input into a memfd, since a program that exits early would break a pipe."""
    if not data:
        yield asyncio.subprocess.DEVNULL
        return
    with os.fdopen(os.memfd_create("stdin", os.MFD_CLOEXEC), "w+b") as file:
        file.write(data)
        file.flush()
        file.seek(0)
        yield file.fileno()


async def _kill(child: asyncio.subprocess.Process) -> None:
    """Kill a program's process group and wait for it, within limits."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(REAPED_S):
            # Not `wait`: the kernel may report the exit before the end of file of the pipes, and
            # a loop that is closed in between fails over transports that are still open.
            await child.communicate()
