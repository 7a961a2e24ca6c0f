"""Run mount, ip, nsenter and the like for a container, and turn failures into messages.

Owns: the messages. May not touch: what the programs do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from supervisor.runtime import subprocesses

COMMAND_S: Final = 20.0
MAX_OUTPUT: Final = 2000  # characters of a program's output in a message


async def run_program(
    argv: Sequence[str],
    timeout_s: float = COMMAND_S,
    environment: Mapping[str, str] = subprocesses.ENVIRONMENT,
) -> tuple[int, str]:
    """Run a program; its exit status, -1 if it did not exit by itself, and its output."""
    try:
        completed = await subprocesses.run(argv, deadline_s=timeout_s, environment=environment)
    except OSError as error:
        return -1, f"{argv[0]}: {error.strerror}"
    except TimeoutError:
        return -1, f"{argv[0]} took longer than {timeout_s:.0f} s and was killed"
    return completed.code, (completed.output_text if completed.code else completed.output.strip())[
        :MAX_OUTPUT
    ]
