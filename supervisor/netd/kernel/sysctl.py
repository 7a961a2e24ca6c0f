"""The sysctl settings below net.

Owns: the way a key becomes a file. May touch: /proc/sys/net alone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from pathlib import Path
from typing import Final

BASE: Final = Path("/proc/sys/net")
_KEY: Final = re.compile(r"[A-Za-z0-9_.:@+-]+(/[A-Za-z0-9_.:@+-]+)+")


class Sysctl:
    """Reads and writes settings; a key is "ipv6/conf/virbr0/disable_ipv6"."""

    def __init__(self, base: Path = BASE) -> None:
        self._base = base

    def read(self, key: str) -> str | None:
        """Read a setting; None: this kernel does not have it."""
        try:
            return self._path(key).read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None

    def write(self, key: str, value: str) -> str | None:
        """Write a setting that differs; return its previous value, or None if it did not.

        Raises:
            OSError: it cannot be changed.
        """
        previous = self.read(key)
        if previous is None:
            raise OSError(errno.ENOENT, "this kernel has no such setting", str(self._path(key)))
        if previous == value:
            return None
        fd = os.open(self._path(key), os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, f"{value}\n".encode())
        finally:
            os.close(fd)
        return previous

    def write_if_present(self, key: str, value: str) -> None:
        """Write a setting where this kernel has it.

        Raises:
            OSError: it cannot be changed.
        """
        with contextlib.suppress(FileNotFoundError):
            self.write(key, value)

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key) or ".." in key.split("/"):
            raise OSError(errno.EINVAL, f"'{key}' is no setting of networking", key)
        return self._base / key
