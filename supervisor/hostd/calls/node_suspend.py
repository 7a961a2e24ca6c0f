"""virNodeSuspendForDuration: puts the host to sleep, and has its clock wake it.

Owns: the one suspension that is under way. May touch: the host's clock and its sleep, by their
programs (rtcwake; pm-utils or systemctl).
Source: libvirt 9.0, virNodeSuspend.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from rpc.enums import NodeSuspendTarget as Target
from rpc.errors import ErrorCode, VirError
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.service_errors import HOST_ERRORS
from supervisor.hostd.calls.emulator import suspend_modes
from supervisor.runtime.subprocesses import SEARCH_PATH, CompletedProgram, run

SHORTEST_S: Final = 60
DELAY_S: Final = 10.0  # so that the reply reaches the client before the host sleeps
ALARM_S: Final = 10.0
SLEEP_S: Final = 3600.0  # of the program: it counts only while the host is awake
NAMES: Final = {
    Target.MEM: ("suspend_mem", "Suspend-to-RAM"),
    Target.DISK: ("suspend_disk", "Suspend-to-Disk"),
    Target.HYBRID: ("suspend_hybrid", "Hybrid-Suspend"),
}
#: The program of pm-utils, and what systemd has where pm-utils is not there.
PROGRAMS: Final = {
    Target.MEM: ("pm-suspend", "suspend"),
    Target.DISK: ("pm-hibernate", "hibernate"),
    Target.HYBRID: ("pm-suspend-hybrid", "hybrid-sleep"),
}

Run = Callable[[Sequence[str], float], Awaitable[CompletedProgram]]

log = logging.getLogger(__name__)


async def run_program(argv: Sequence[str], deadline_s: float) -> CompletedProgram:
    """Run a program to its exit. Raises as `subprocesses.run`."""
    return await run(argv, deadline_s=deadline_s)


class NodeSuspendCalls:
    """The call."""

    def __init__(
        self,
        states: Path = Path("/sys/power/state"),
        run_program: Run = run_program,
        delay_s: float = DELAY_S,
    ) -> None:
        """Suspend the host whose sleep states a file lists."""
        self._states = states
        self._run = run_program
        self._delay_s = delay_s
        self._is_under_way = False  # from the alarm on until the host is awake again
        self._suspending: asyncio.Task[None] | None = None

    async def node_suspend_for_duration(
        self, call: ClientCall, target: int, duration: int, flags: int
    ) -> None:
        """Set the alarm of the host's clock, and suspend the host in 10 s.

        Raises:
            VirError: INVALID_ARG: no such target, or less than a minute; ARGUMENT_UNSUPPORTED: the
                host cannot; OPERATION_INVALID: it is about to; INTERNAL_ERROR: no alarm is set.
        """
        HOST_ERRORS.check_flags("virNodeSuspend", flags)
        if self._is_under_way:
            raise HOST_ERRORS.operation_invalid("Suspend operation already in progress")
        if target not in NAMES:
            raise HOST_ERRORS.invalid_arg("Invalid suspend target")
        mode, title = NAMES[Target(target)]
        if mode not in suspend_modes(self._states):
            raise VirError(ErrorCode.ARGUMENT_UNSUPPORTED, title)
        if duration < SHORTEST_S:
            detail = f"Suspend duration is too short, must be at least {SHORTEST_S} seconds"
            raise HOST_ERRORS.invalid_arg(detail)
        self._is_under_way = True
        try:
            await self._set_alarm(duration)
        except BaseException:
            self._is_under_way = False
            raise
        self._suspending = asyncio.create_task(self._suspend(Target(target)))

    async def _set_alarm(self, duration: int) -> None:
        argv = ("rtcwake", "-m", "no", "-s", str(duration))
        try:
            done = await self._run(argv, ALARM_S)
        except (OSError, TimeoutError) as error:
            raise VirError(ErrorCode.INTERNAL_ERROR, f"cannot run rtcwake: {error}") from error
        if done.code != 0:
            detail = f"the host's clock cannot wake it: {done.output_text}"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail)

    async def _suspend(self, target: Target) -> None:
        try:
            await asyncio.sleep(self._delay_s)
            argv = program_for(target)
            log.warning("the host is suspended: %s", " ".join(argv))
            done = await self._run(argv, SLEEP_S)
            if done.code != 0:
                log.error("the host was not suspended: %s", done.output_text)
        except (OSError, TimeoutError) as error:
            log.error("the host was not suspended: %s", error)
        finally:
            self._is_under_way = False


def program_for(target: Target) -> tuple[str, ...]:
    """Choose the program that suspends the host."""
    pm_utils, verb = PROGRAMS[target]
    found = shutil.which(pm_utils, path=SEARCH_PATH)
    return (found,) if found else ("systemctl", verb)
