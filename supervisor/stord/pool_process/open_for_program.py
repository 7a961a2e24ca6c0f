"""Opens volumes for programs such as qemu-img, which inherit the descriptor.

Owns: the check of a volume and its backing chain. May touch: these images, to read.
Runs in a dedicated helper process: every function here may block.

A program that got a path could be redirected: the owner of the pool's directory can replace a file
by a symbolic link between the check and the open (TOCTOU).
"""

from __future__ import annotations

import os

from conf.errors import ConfError
from ipc import Descriptor, handles
from rpc.errors import ErrorDomain
from supervisor.dispatch.errors import from_conf_error
from supervisor.images import HEADER_BYTES, ChainLink, OpenImage, resolve_chain
from supervisor.stord.pool_process.errors import system_errors
from supervisor.stord.pool_process.messages import OpenedVolume, OpenVolume
from supervisor.stord.pool_process.safe_open import open_volume
from supervisor.stord.pool_process.scan import read_head

RAW: str = "raw"


class OpenForProgram:
    """Handles requests for open volumes."""

    @handles(OpenVolume)
    def open_volume(self, request: OpenVolume) -> OpenedVolume:
        """Open a volume and return its local backing file."""
        with system_errors(f"open '{request.path}'"):
            fd = open_volume(request.path, os.O_RDWR if request.writable else os.O_RDONLY)
            descriptor = Descriptor(fd)  # closes it if the rest fails
            backing = local_backing(request, fd)
        if backing is None:
            return OpenedVolume(descriptor=descriptor)
        return OpenedVolume(
            descriptor=descriptor, backing=backing.path, backing_format=backing.format
        )


def local_backing(request: OpenVolume, fd: int) -> ChainLink | None:
    """Return the local backing file of an open image; None for none or a remote one.

    Raises:
        VirError: the backing chain is refused.
        OSError: it cannot be read.
    """
    if request.format == RAW:
        return None

    def read(path: str) -> OpenImage:
        if path != request.path:
            return read_head(path)
        status = os.fstat(fd)
        return OpenImage(os.pread(fd, HEADER_BYTES, 0), (status.st_dev, status.st_ino))

    try:
        links = resolve_chain(request.path, request.format, read)
    except ConfError as error:
        raise from_conf_error(error, ErrorDomain.STORAGE) from error
    return links[1] if len(links) > 1 and links[1].path else None
