"""Hook scripts: the administrator's programs, run at each step of a domain's or network's life.

Owns: running them. May not touch: what they do.
Source: libvirt 9.0 hooks, "/etc/libvirt/hooks/DRIVER": arguments OBJECT OPERATION SUB-OPERATION
EXTRA, the object's XML on standard input.
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
MAX_OUTPUT: Final = 2000  # characters of a script's standard error in a message

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Hooks:
    """The scripts of one driver: `hooks/qemu`, then those in `hooks/qemu.d` by name."""

    script: Path

    def scripts(self) -> list[Path]:
        """List the executable scripts of this hook, in the order in which they run."""
        folder = self.script.with_name(f"{self.script.name}.d")
        paths = [self.script]
        with contextlib.suppress(OSError):
            paths += sorted(folder.iterdir())
        return [path for path in paths if path.is_file() and os.access(path, os.X_OK)]

    async def run(
        self, name: str, operation: str, xml: str, *, sub: str = "begin", extra: str = "-"
    ) -> None:
        """Run the scripts at a step that they may refuse.

        Args:
            name: the domain's or network's; "-" for the daemon itself.
            operation: "prepare", "start", "started", "stopped", "release", "reconnect", …
            xml: the object's XML.
            sub: "begin" or "end".
            extra: the last argument.

        Raises:
            VirError: HOOK_SCRIPT_FAILED; the scripts after the failed one are not run.
        """
        for script in self.scripts():
            arguments = (name, operation, sub, extra)
            completed = await _execute(script, arguments, xml.encode())
            if completed.code != 0:
                raise _failed(script, arguments, completed)

    async def edit(self, name: str, operation: str, xml: str) -> str:
        """Run the scripts at a step where they may replace the XML: each gets the last one's.

        Returns:
            The XML; unchanged where no script printed another one.

        Raises:
            VirError: HOOK_SCRIPT_FAILED.
        """
        for script in self.scripts():
            arguments = (name, operation, "begin", "-")
            completed = await _execute(script, arguments, xml.encode())
            if completed.code != 0:
                raise _failed(script, arguments, completed)
            xml = completed.output if completed.output.strip() else xml
        return xml

    async def notify(
        self, name: str, operation: str, xml: str, *, sub: str = "end", extra: str = "-"
    ) -> None:
        """Run the scripts at a step that nothing stops: their failure is logged."""
        try:
            await self.run(name, operation, xml, sub=sub, extra=extra)
        except VirError as error:
            log.warning("%s", error.detail)


async def _execute(
    script: Path, arguments: tuple[str, ...], stdin: bytes
) -> subprocesses.CompletedProgram:
    """Run one script; one that cannot be run, or is too slow, has failed."""
    try:
        return await subprocesses.run([script, *arguments], deadline_s=HOOK_S, stdin=stdin)
    except TimeoutError:
        error = f"it took longer than {HOOK_S:.0f} s and was killed"
    except OSError as failure:
        error = str(failure)
    return subprocesses.CompletedProgram(-1, "", error)


def _failed(
    script: Path, arguments: tuple[str, ...], completed: subprocesses.CompletedProgram
) -> VirError:
    name, operation, sub, _ = arguments
    detail = (
        f"Hook script execution failed: {script} {name} {operation} {sub} exited with "
        f"{completed.code}: {completed.errors.strip()[:MAX_OUTPUT]}"
    )
    return VirError(ErrorCode.HOOK_SCRIPT_FAILED, detail, ErrorDomain.HOOK)
