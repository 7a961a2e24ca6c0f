"""Programs of the host that a container's worker has work done by.

Owns: running them to their end. May not touch: what they do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from typing import Final

COMMAND_S: Final = 20.0
MAX_WORDS: Final = 2000  # characters of a complaint that are passed on
ENVIRON: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


async def run(argv: Sequence[str], timeout_s: float = COMMAND_S) -> tuple[int, str]:
    """Run a program; its exit status, -1 when it did not end by itself, and what it said."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=ENVIRON,
            start_new_session=True,
        )
    except OSError as problem:
        return -1, f"{argv[0]}: {problem.strerror}"
    try:
        async with asyncio.timeout(timeout_s):
            said, _ = await process.communicate()
    except TimeoutError:
        return -1, f"{argv[0]} took longer than {timeout_s:.0f} s and was killed"
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    status = process.returncode if process.returncode is not None else -1
    return status, said.decode(errors="replace").strip()[:MAX_WORDS]
