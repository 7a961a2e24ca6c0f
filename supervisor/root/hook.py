"""The daemon's own hook script: told of start, shutdown and reload.

Owns: running it. May not touch: what it does; its failure is logged and changes nothing.
Source: libvirt 9.0 hooks, "/etc/libvirt/hooks/daemon".
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from pathlib import Path
from typing import Final

HOOK_S: Final = 30.0

log = logging.getLogger(__name__)


async def run_hook(script: Path, operation: str, sub_operation: str, extra: str) -> None:
    """Run the script, if there is one, as stock does: OBJECT OPERATION SUB-OPERATION EXTRA."""
    if not os.access(script, os.X_OK):
        return
    process = await asyncio.create_subprocess_exec(
        script, "-", operation, sub_operation, extra,
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        async with asyncio.timeout(HOOK_S):
            status = await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        log.warning("hook %s %s took longer than %.0f s and was killed", script, operation, HOOK_S)
        return
    if status != 0:
        log.warning("hook %s %s exited with %d", script, operation, status)
