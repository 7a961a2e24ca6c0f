"""Running the host's packet filter programs: an argument list, an input, a deadline.

Owns: the child processes while they run. May not touch: what they are told.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError

DEADLINE_S: Final = 15.0  # longer than the programs themselves wait for the xtables lock
LOCK_S: Final = 5  # how long they wait for it
SEARCHED: Final = "/usr/sbin:/sbin:/usr/bin:/bin"  # a service's PATH may lack sbin


@dataclass(frozen=True, slots=True)
class Ended:
    """A program that came to its end."""

    code: int
    output: str
    errors: str


async def run(argv: Sequence[str], *, given: str = "", deadline_s: float = DEADLINE_S) -> Ended:
    """Run a program to its end; one that takes too long, or that nobody waits for, is killed.

    Raises:
        VirError: INTERNAL_ERROR: it cannot be executed; OPERATION_TIMEOUT: it did not end.
    """
    environ = {"PATH": SEARCHED, "LC_ALL": "C"}
    try:
        with _input(given) as stdin:
            child = await asyncio.create_subprocess_exec(
                *argv,
                stdin=stdin,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=environ,
            )
    except OSError as problem:
        detail = f"cannot execute {argv[0]}: {os.strerror(problem.errno or 0)}; install it"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.FIREWALL) from problem
    try:
        async with asyncio.timeout(deadline_s):
            output, errors = await child.communicate()
    except TimeoutError:
        detail = f"'{argv[0]}' did not end in {deadline_s:g} s; does another program hold its lock?"
        raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.FIREWALL) from None
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
    code = child.returncode if child.returncode is not None else -1
    return Ended(code, output.decode(errors="replace"), errors.decode(errors="replace"))


@contextlib.contextmanager
def _input(given: str) -> Iterator[int]:
    """What a program reads: a file in memory, for one that ends early breaks no pipe."""
    fd = os.memfd_create("given", os.MFD_CLOEXEC)
    with os.fdopen(fd, "w+b") as file:
        file.write(given.encode())
        file.flush()
        file.seek(0)
        yield file.fileno()


async def run_ok(argv: Sequence[str], *, given: str = "") -> str:
    """Run a program that must succeed; what it printed.

    Raises:
        VirError: INTERNAL_ERROR: it failed, with what it said; as `run`.
    """
    ended = await run(argv, given=given)
    if ended.code != 0:
        raise failed(argv, ended)
    return ended.output


def failed(argv: Sequence[str], ended: Ended) -> VirError:
    """INTERNAL_ERROR: a program refused what it was told."""
    said = ended.errors.strip() or f"exit status {ended.code}"
    detail = f"'{' '.join(argv)}' failed: {said[:1000]}"
    return VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.FIREWALL)
