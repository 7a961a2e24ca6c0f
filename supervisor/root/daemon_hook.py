"""The daemon's own hook script: told of start, shutdown and reload.

Owns: running it. May not touch: what it does; its failure is logged and changes nothing.
Source: libvirt 9.0 hooks, "/etc/libvirt/hooks/daemon".
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

from supervisor.runtime import subprocesses

HOOK_S: Final = 30.0
MAX_WORDS: Final = 2000  # characters of what a script complains

log = logging.getLogger(__name__)


async def run_hook(script: Path, operation: str, sub_operation: str, extra: str) -> None:
    """Run the script, if there is one, as stock does: OBJECT OPERATION SUB-OPERATION EXTRA."""
    if not os.access(script, os.X_OK):
        return
    try:
        words = ["-", operation, sub_operation, extra]
        ended = await subprocesses.run([script, *words], deadline_s=HOOK_S)
    except TimeoutError:
        log.warning("hook %s %s took longer than %.0f s and was killed", script, operation, HOOK_S)
    except OSError as error:
        log.warning("hook %s %s cannot be executed: %s", script, operation, error)
    else:
        if ended.code != 0:
            log.warning("hook %s %s: %s", script, operation, ended.output_text[:MAX_WORDS])
