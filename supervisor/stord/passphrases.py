"""Passphrases for programs: in memory that only they inherit, never in a command line or a file.

Owns: those descriptors for as long as a program runs.
May touch: nothing else. What is in them is never logged.
"""

from __future__ import annotations

import os
from types import TracebackType

from supervisor.stord.backends.base import FindSecret, SecretName
from supervisor.stord.images import Key


class Passphrases:
    """The passphrases of one run of qemu-img."""

    def __init__(self, find: FindSecret) -> None:
        """Have none yet."""
        self._find = find
        self.descriptors: list[int] = []

    async def key(self, name: str, secret: SecretName) -> Key:
        """Find a secret and put it where the program can read it.

        Raises:
            VirError: NO_SECRET.
        """
        value = await self._find(secret)
        fd = os.memfd_create(f"secret-{name}", os.MFD_CLOEXEC)  # for the one program alone
        self.descriptors.append(fd)
        os.write(fd, value)
        return Key(name, fd)

    async def __aenter__(self) -> Passphrases:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for fd in self.descriptors:
            os.close(fd)
