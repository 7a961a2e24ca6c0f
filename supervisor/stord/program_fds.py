"""Descriptors that a storage program inherits: passphrases in memfds, open volumes.

Owns: those descriptors while the program runs. A passphrase is in no command line (visible in
/proc/PID/cmdline) and in no file. A volume is passed open: its path could be replaced meanwhile.
May touch: nothing else. Contents are never logged.
"""

from __future__ import annotations

import os
from types import TracebackType

from supervisor.stord import qemu_img
from supervisor.stord.pool_process.messages import OpenVolume, PoolProcess
from supervisor.stord.qemu_img import ImageSpec, SecretFd
from supervisor.stord.volume_info import VolumeInfo


class ProgramFds:
    """Descriptors of one run of a program; closed on exit."""

    def __init__(self, process: PoolProcess) -> None:
        self._process = process
        self.names: dict[int, str] = {}  # descriptor to name, for error messages

    def add_secret(self, name: str, value: bytes) -> SecretFd:
        """Put a passphrase into a memfd."""
        fd = os.memfd_create(f"secret-{name}", os.MFD_CLOEXEC)  # inherited by this program only
        self.names[fd] = f"the {name} passphrase"
        os.write(fd, value)
        return SecretFd(name, fd)

    async def open_volume(self, volume: VolumeInfo, *, writable: bool = False) -> ImageSpec:
        """Open a volume and its local backing file's name.

        Raises:
            VirError: OPERATION_DENIED for a symbolic link out of its pool; a backing chain that
                loops or lacks a format.
        """
        volume_format = volume.format or "raw"
        request = OpenVolume(path=volume.path, format=volume_format, writable=writable)
        opened = await self._process.call_dedicated(request)
        fd = opened.descriptor.take()
        self.names[fd] = volume.path
        return ImageSpec(
            qemu_img.fd_path(fd),
            volume_format,
            backing=opened.backing,
            backing_format=opened.backing_format,
        )

    def replace_paths(self, text: str) -> str:
        """Replace /proc/self/fd paths in a program's output by the names of volumes."""
        for fd, name in sorted(self.names.items(), reverse=True):  # fd/12 before fd/1
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
