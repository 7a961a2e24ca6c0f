"""Names of files that are being made: no volumes yet. Pure.

Owns: those names. A volume's contents are written under such a name, and it gets its own when it
is whole; a crash leaves the temporary one, which the next stord of the same host removes.
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
    """What tells this daemon's files from those of others.

    Args:
        root: of the daemon's own files: there may be several daemons on a host.
    """
    try:
        machine = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        machine = os.uname().nodename
    return f"{zlib.crc32(f'{machine} {root}'.encode()):08x}"


def temporary_name(host_tag: str) -> str:
    """A name for a file that is being made.

    Args:
        host_tag: tells this daemon's from those of other hosts in a shared folder.
    """
    return f"{PREFIX}{host_tag}-{os.getpid()}-{next(_numbers)}-{secrets.token_hex(4)}"


def is_temporary(name: str) -> bool:
    """Whether a file is being made, by any host's daemon."""
    return name.startswith(PREFIX)


def is_leftover(name: str, host_tag: str, pid: int) -> bool:
    """Whether an earlier stord of this host left a file half-made."""
    mine = f"{PREFIX}{host_tag}-"
    return name.startswith(mine) and not name.startswith(f"{mine}{pid}-")
