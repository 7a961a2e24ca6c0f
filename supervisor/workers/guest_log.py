"""A guest's own log: how its emulator was started, and what it complained of.

Owns: the file. May not touch: what the emulator writes there.
"""

from __future__ import annotations

import datetime
import os
import platform
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

STARTING: Final = "starting up virtvisor"
TAIL: Final = 4096  # bytes of complaint that a client is told


class GuestLog:
    """The log of one start."""

    def __init__(self, path: Path) -> None:
        """Open the log at its end."""
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o600)
        self._start = os.fstat(self._fd).st_size

    def __enter__(self) -> GuestLog:
        """Write into it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it; the emulator has its own descriptor."""
        os.close(self._fd)

    def fileno(self) -> int:
        """Where the emulator writes."""
        return self._fd

    def log_start(
        self, argv: Sequence[str], environ: Mapping[str, str], version: str, engine: str = "qemu"
    ) -> None:
        """Note how the emulator is started."""
        now = datetime.datetime.now(datetime.UTC)
        stamp = f"{now:%Y-%m-%d %H:%M:%S}.{now.microsecond // 1000:03d}+0000"
        variables = [f"{name}={shlex.quote(value)}" for name, value in environ.items()]
        lines = " \\\n".join([*variables, *_command_lines(argv)])
        text = (
            f"{stamp}: {STARTING}, {engine} version: {version}, "
            f"kernel: {platform.release()}, hostname: {platform.node()}\n{lines}\n"
        )
        os.write(self._fd, text.encode(errors="surrogateescape"))
        self._start = os.fstat(self._fd).st_size

    def error_output(self) -> str:
        """What the emulator has said in this start, its end if it is long."""
        size = os.fstat(self._fd).st_size
        start = max(self._start, size - TAIL)
        return os.pread(self._fd, TAIL, start).decode(errors="replace").strip()


def last_error_output(path: Path) -> str:
    """What was said since the last start that a log knows of, its end if it is long."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL))
            text = log.read(TAIL).decode(errors="replace")
    except OSError:
        return ""
    return text.rpartition(STARTING)[2].partition("\n")[2].strip()


def _command_lines(argv: Sequence[str]) -> list[str]:
    """The words, an option with its value on one line."""
    lines: list[str] = []
    for argument in argv:
        quoted = shlex.quote(argument)
        if lines and lines[-1].startswith("-") and " " not in lines[-1] and argument[:1] != "-":
            lines[-1] += f" {quoted}"
        else:
            lines.append(quoted)
    return lines
