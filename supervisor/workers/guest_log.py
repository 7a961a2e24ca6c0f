"""The log of one domain, /var/log/libvirt/qemu/NAME.log: its command lines and QEMU's output.

Owns: writing the command lines there. May not touch: what QEMU writes, which logd appends.
"""

from __future__ import annotations

import datetime
import logging
import os
import platform
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError

STARTING: Final = "starting up virtvisor"
TAIL: Final = 4096  # bytes of output in an error message

log = logging.getLogger(__name__)


class GuestLog:
    """The log of one start."""

    def __init__(self, path: Path) -> None:
        """Open the file, which is created.

        Raises:
            OSError: it cannot be opened.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        # O_APPEND: others write to it, too, and logrotate may truncate it.
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(path, flags, 0o600)
        self._start = os.fstat(self._fd).st_size

    def __enter__(self) -> GuestLog:
        """Write to the log within the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it; the guest has a descriptor of its own."""
        os.close(self._fd)

    def fileno(self) -> int:
        """Return the descriptor, which a container's monitor inherits as stdout and stderr."""
        return self._fd

    def log_start(
        self, argv: Sequence[str], environ: Mapping[str, str], version: str, engine: str = "qemu"
    ) -> None:
        """Write the command line; output after it is this start's."""
        now = datetime.datetime.now(datetime.UTC)
        stamp = f"{now:%Y-%m-%d %H:%M:%S}.{now.microsecond // 1000:03d}+0000"
        variables = [f"{name}={shlex.quote(value)}" for name, value in environ.items()]
        lines = " \\\n".join([*variables, *_command_lines(argv)])
        text = (
            f"{stamp}: {STARTING}, {engine} version: {version}, "
            f"kernel: {platform.release()}, hostname: {platform.node()}\n{lines}\n"
        )
        try:
            os.write(self._fd, text.encode(errors="surrogateescape"))
        except OSError as error:  # a full disk must not stop a guest
            log.warning("the command line is missing in %s: %s", self.path, error.strerror)
        self._start = os.fstat(self._fd).st_size

    def error_output(self) -> str:
        """Return the output of this start, or its last 4 KiB."""
        size = os.fstat(self._fd).st_size
        start = max(self._start, size - TAIL)
        return os.pread(self._fd, TAIL, start).decode(errors="replace").strip()


def open_log(path: Path) -> GuestLog:
    """Open a domain's log.

    Raises:
        VirError: SYSTEM_ERROR naming the file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return GuestLog(path)
    except OSError as error:
        detail = f"failed to create logfile {path}: {error.strerror}"
        raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.QEMU) from error


def last_error_output(path: Path) -> str:
    """Return the output of the last start in a log, or its last 4 KiB."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL))
            text = log.read(TAIL).decode(errors="replace")
    except OSError:
        return ""
    return text.rpartition(STARTING)[2].partition("\n")[2].strip()


def _command_lines(argv: Sequence[str]) -> list[str]:
    """Group the arguments into lines: an option with its value on one."""
    lines: list[str] = []
    for argument in argv:
        quoted = shlex.quote(argument)
        if lines and lines[-1].startswith("-") and " " not in lines[-1] and argument[:1] != "-":
            lines[-1] += f" {quoted}"
        else:
            lines.append(quoted)
    return lines
