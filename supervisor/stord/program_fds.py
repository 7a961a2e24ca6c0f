"""What one run of a program inherits: passphrases in memory, and volumes that are open.

Owns: those descriptors for as long as the program runs. A passphrase is never in a command line or
a file; a volume is no name, which could meanwhile lead elsewhere.
May touch: nothing else. What is in them is never logged.
"""

from __future__ import annotations

import os
from types import TracebackType

from supervisor.stord import qemu_img
from supervisor.stord.pool_process.messages import OpenVolume, PoolProcess
from supervisor.stord.qemu_img import ImageSpec, SecretFd
from supervisor.stord.volume_info import VolumeInfo


class ProgramFds:
    """The descriptors of one run of a program."""

    def __init__(self, process: PoolProcess) -> None:
        """Have none yet."""
        self._process = process
        self.names: dict[int, str] = {}  # by descriptor: what it is, for messages

    def add_secret(self, name: str, value: bytes) -> SecretFd:
        """Put a passphrase where the program can read it."""
        fd = os.memfd_create(f"secret-{name}", os.MFD_CLOEXEC)  # for the one program alone
        self.names[fd] = f"the {name} passphrase"
        os.write(fd, value)
        return SecretFd(name, fd)

    async def open_volume(self, volume: VolumeInfo, *, writable: bool = False) -> ImageSpec:
        """Open a volume, which is not trusted.

        Raises:
            VirError: OPERATION_DENIED for a link out of its pool; what lies below it is not named
                with its format, or is a loop.
        """
        form = volume.format or "raw"
        order = OpenVolume(path=volume.path, format=form, writable=writable)
        lent = await self._process.call_dedicated(order)
        fd = lent.descriptor.take()
        self.names[fd] = volume.path
        return ImageSpec(
            qemu_img.fd_path(fd), form, backing=lent.backing, backing_format=lent.backing_format
        )

    def replace_paths(self, text: str) -> str:
        """What a program said, with the volumes' names in place of descriptors."""
        for fd, name in sorted(self.names.items(), reverse=True):  # 12 before 1
            text = text.replace(qemu_img.fd_path(fd), name)
        return text

    async def __aenter__(self) -> ProgramFds:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for fd in self.names:
            os.close(fd)
