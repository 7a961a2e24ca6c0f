"""Hook scripts: the administrator's own programs, told of each step of a guest's or network's life.

Owns: running them. May not touch: what they do.
Source: libvirt 9.0 hooks, "/etc/libvirt/hooks/qemu", "…/network": OBJECT OPERATION SUB-OPERATION
EXTRA, the thing's document on standard input.
"""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.runtime import subprocesses

HOOK_S: Final = 30.0
MAX_WORDS: Final = 2000  # characters of what a script complains that are passed on

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Hooks:
    """The scripts of one driver: `hooks/qemu`, then those in `hooks/qemu.d` by name."""

    script: Path

    def scripts(self) -> list[Path]:
        """Those that there are and may be run."""
        folder = self.script.with_name(f"{self.script.name}.d")
        found = [self.script]
        with contextlib.suppress(OSError):
            found += sorted(folder.iterdir())
        return [path for path in found if path.is_file() and os.access(path, os.X_OK)]

    async def run(self, name: str, operation: str, xml: str, *, sub: str = "begin") -> None:
        """Tell the scripts.

        Args:
            name: the domain's or network's.
            operation: "prepare", "start", "started", "stopped", "release", "reconnect", …
            xml: its document.
            sub: "begin" or "end".

        Raises:
            VirError: HOOK_SCRIPT_FAILED; the scripts after the one that failed are not run.
        """
        for script in self.scripts():
            status, words = await _run(script, (name, operation, sub, "-"), xml.encode())
            if status != 0:
                detail = (
                    f"Hook script execution failed: {script} {name} {operation} {sub} exited with "
                    f"{status}: {words}"
                )
                raise VirError(ErrorCode.HOOK_SCRIPT_FAILED, detail, ErrorDomain.HOOK)

    async def notify(self, name: str, operation: str, xml: str, *, sub: str = "end") -> None:
        """Tell the scripts of what nothing can keep from happening any more."""
        try:
            await self.run(name, operation, xml, sub=sub)
        except VirError as error:
            log.warning("%s", error.detail)


async def _run(script: Path, words: tuple[str, ...], given: bytes) -> tuple[int, str]:
    """Run one script; its exit status and complaint."""
    try:
        ended = await subprocesses.run([script, *words], deadline_s=HOOK_S, given=given)
    except TimeoutError:
        return -1, f"it took longer than {HOOK_S:.0f} s and was killed"
    except OSError as error:
        return -1, str(error)
    return ended.code, ended.errors.strip()[:MAX_WORDS]
