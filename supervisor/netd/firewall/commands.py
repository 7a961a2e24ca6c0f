"""Runs the firewall programs: iptables, ebtables, nft.

Owns: their deadlines, and the errors for clients.
May not touch: their input; `supervisor.runtime.subprocesses` runs them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.runtime import subprocesses
from supervisor.runtime.subprocesses import CompletedProgram

DEADLINE_S: Final = 15.0  # longer than the programs themselves wait for the xtables lock
LOCK_S: Final = 5  # how long they wait for it


async def run(
    argv: Sequence[str], *, stdin: str = "", deadline_s: float = DEADLINE_S
) -> CompletedProgram:
    """Run a program; it is killed at the deadline, or when the caller is cancelled.

    Raises:
        VirError: INTERNAL_ERROR: it cannot be executed; OPERATION_TIMEOUT: it did not end.
    """
    try:
        return await subprocesses.run(argv, deadline_s=deadline_s, stdin=stdin.encode())
    except TimeoutError:
        detail = f"'{argv[0]}' did not end in {deadline_s:g} s; does another program hold its lock?"
        raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.FIREWALL) from None
    except OSError as error:
        detail = f"cannot execute {argv[0]}: {os.strerror(error.errno or 0)}; install it"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.FIREWALL) from error


async def run_ok(argv: Sequence[str], *, stdin: str = "") -> str:
    """Run a program, check its exit status and return its output.

    Raises:
        VirError: INTERNAL_ERROR: it failed, with its output; those of `run`.
    """
    ended = await run(argv, stdin=stdin)
    if ended.code != 0:
        raise program_failed(argv, ended)
    return ended.output


def program_failed(argv: Sequence[str], ended: CompletedProgram) -> VirError:
    """INTERNAL_ERROR: a program exited with an error."""
    detail = f"'{' '.join(argv)}' failed: {ended.output_text[:1000]}"
    return VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.FIREWALL)
