"""Names of temporary files: volumes that are being created. Pure.

Owns: those names. A volume is written under a temporary name and renamed when it is complete.
After a crash the next stord of the same host removes the temporary file.
"""

from __future__ import annotations

import itertools
import os
import secrets
import zlib
from pathlib import Path
from typing import Final

PREFIX: Final = ".virtvisor-new-"

_numbers = itertools.count(1)


def host_tag(root: str) -> str:
    """Return a tag that identifies this daemon in a directory shared by several hosts.

    Args:
        root: the daemon's state directory; a host may run a system and session daemons.
    """
    try:
        machine = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        machine = os.uname().nodename
    return f"{zlib.crc32(f'{machine} {root}'.encode()):08x}"


def temporary_name(host_tag: str) -> str:
    """Return a new temporary name."""
    return f"{PREFIX}{host_tag}-{os.getpid()}-{next(_numbers)}-{secrets.token_hex(4)}"


def is_temporary(name: str) -> bool:
    """Return whether a name is temporary, of any host's daemon."""
    return name.startswith(PREFIX)


def is_leftover(name: str, host_tag: str, pid: int) -> bool:
    """Return whether an earlier stord (another PID) of this daemon left a temporary file."""
    prefix = f"{PREFIX}{host_tag}-"
    return name.startswith(prefix) and not name.startswith(f"{prefix}{pid}-")
