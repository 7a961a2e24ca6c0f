"""Running the host's programs to their end: an argument list, an input, a deadline.

Owns: the child processes while they run: each has a session of its own, and is killed with all
that it started when it takes too long or when nobody waits for it any more.
May not touch: what they are told. What a failure means is the caller's.
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
# The event loop leaves a child the second numbers of its own three streams, and LVM's programs
# would say so in front of what we want to know.
ENVIRONMENT: Final = {"PATH": SEARCH_PATH, "LC_ALL": "C", "LVM_SUPPRESS_FD_WARNINGS": "1"}
REAPED_S: Final = 2.0  # how long one is waited for that was killed: it may hang in the kernel

#: What goes around the wait for a process, of this number.
Follow = Callable[[int], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class CompletedProgram:
    """A program that came to its end."""

    code: int  # negative: the signal that ended it
    output: str
    errors: str

    @property
    def output_text(self) -> str:
        """What it complained of, else what it printed, else how it ended."""
        return self.errors.strip() or self.output.strip() or f"exit status {self.code}"


def no_wrapper(_: int) -> AbstractContextManager[None]:
    """Nothing goes around the wait."""
    return nullcontext()


async def run(
    argv: Sequence[str | Path],
    *,
    deadline_s: float,
    given: bytes = b"",
    descriptors: Sequence[int] = (),
    follow: Follow = no_wrapper,
    environment: Mapping[str, str] = ENVIRONMENT,
) -> CompletedProgram:
    """Run a program to its end.

    Args:
        argv: its name or path, and its arguments.
        deadline_s: it is killed then.
        given: its standard input.
        descriptors: of ours, that it inherits under the same numbers.
        follow: goes around the wait for it.
        environment: its variables.

    Raises:
        OSError: it cannot be executed.
        TimeoutError: it did not end.
    """
    with _input(given) as stdin:
        spawning = asyncio.create_task(
            asyncio.create_subprocess_exec(
                *argv,
                stdin=stdin,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=dict(environment),
                cwd="/",
                start_new_session=True,
                pass_fds=tuple(descriptors),
            )
        )
        try:
            child = await asyncio.shield(spawning)
        except asyncio.CancelledError:
            with contextlib.suppress(OSError):
                await _end(await spawning)  # it has begun all the same, and nobody would end it
            raise
    try:
        with follow(child.pid):
            async with asyncio.timeout(deadline_s):
                output, errors = await child.communicate()
    finally:
        if child.returncode is None:
            await _end(child)
    code = child.returncode if child.returncode is not None else -1
    return CompletedProgram(code, output.decode(errors="replace"), errors.decode(errors="replace"))


@contextlib.contextmanager
def _input(given: bytes) -> Iterator[int]:
    """What a program reads: a file in memory, for one that ends early breaks no pipe."""
    if not given:
        yield asyncio.subprocess.DEVNULL
        return
    with os.fdopen(os.memfd_create("given", os.MFD_CLOEXEC), "w+b") as file:
        file.write(given)
        file.flush()
        file.seek(0)
        yield file.fileno()


async def _end(child: asyncio.subprocess.Process) -> None:
    """Kill a program and all that it started; one that hangs in the kernel is left behind."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(REAPED_S):
            await asyncio.shield(asyncio.ensure_future(child.wait()))
