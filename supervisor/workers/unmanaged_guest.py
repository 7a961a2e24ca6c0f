"""A guest that runs, and whose status file no worker here can read: it is never started twice.

Owns: finding out whether there is one. May touch: the status file and /proc, to read.

Such a guest is another daemon's, or in the middle of what only that daemon can end. To start its
domain again would be a second QEMU on the same disks.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from supervisor.objects.domain_status_xml import StatusError, read_status
from supervisor.runtime.procfs import command_line

PID: Final = re.compile(rb"<domstatus [^>]*\bpid='(\d{1,10})'")


def find_unmanaged(status: Path, name: str) -> str:
    """Return why a domain cannot be started; "": no guest of it runs that is not managed.

    Args:
        status: the file, where there should be none.
        name: the domain's.
    """
    try:
        read_status(status)
    except StatusError as error:
        pid = _process(status, name)
        return f"its guest runs (process {pid}) and is not managed: {error}" if pid else ""
    return ""


def _process(status: Path, name: str) -> int:
    """Find the guest's process, by the status file or the pid file; 0: it does not run."""
    for file, pattern in ((status, PID), (status.with_suffix(".pid"), re.compile(rb"(\d{1,10})"))):
        try:
            found = pattern.search(file.read_bytes())
        except OSError:
            continue
        if found is not None and _is_guest(int(found[1]), name):
            return int(found[1])
    return 0


def _is_guest(pid: int, name: str) -> bool:
    """Return whether a process is a domain's: its name is a part of an argument."""
    return pid > 1 and any(name in argument for argument in command_line(pid))
