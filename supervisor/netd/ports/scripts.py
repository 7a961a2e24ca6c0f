"""The scripts of cards of type ethernet: the guest's owner plugs the tap in by a program.

Owns: running them. May not touch: what they do. They run with netd's rights: files and networking.
Source: libvirt 9.0 formatdomain, "Generic ethernet connection": the tap's name is the argument.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError

SCRIPT_S: Final = 20.0
MAX_WORDS: Final = 1000  # characters of what a script complains that are passed on

log = logging.getLogger(__name__)


async def run_script(path: str, device: str) -> None:
    """Run a card's script.

    Raises:
        VirError: INTERNAL_ERROR when it fails; OPERATION_TIMEOUT.
    """
    if not path.startswith("/"):
        detail = f"the script '{path}' of interface '{device}' must be an absolute path"
        raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.NETWORK)
    try:
        process = await asyncio.create_subprocess_exec(
            path,
            device,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
            start_new_session=True,
        )
    except OSError as problem:
        detail = f"the script '{path}' cannot be executed: {problem.strerror}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NETWORK) from problem
    try:
        async with asyncio.timeout(SCRIPT_S):
            _, said = await process.communicate()
    except TimeoutError:
        detail = f"the script '{path} {device}' took longer than {SCRIPT_S:.0f} s and was killed"
        raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.NETWORK) from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode != 0:
        words = said.decode(errors="replace").strip()[:MAX_WORDS]
        detail = f"the script '{path} {device}' failed with {process.returncode}: {words}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NETWORK)


async def try_script(path: str, device: str) -> None:
    """Run a script whose failure changes nothing any more."""
    try:
        await run_script(path, device)
    except VirError as problem:
        log.warning("%s", problem.detail)
