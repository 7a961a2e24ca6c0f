"""Volumes lent to programs: as open files, so that no link can be put in between.

Owns: the check of a volume and of what lies below it. May touch: these images, to read.
Runs in a process of the operation's own: every call here may block.
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

PLAIN: str = "raw"


class OpenForProgram:
    """Answers requests for volumes."""

    @handles(OpenVolume)
    def open_volume(self, request: OpenVolume) -> OpenedVolume:
        """Open a volume, and say what lies below it."""
        with system_errors(f"open '{request.path}'"):
            fd = open_volume(request.path, os.O_RDWR if request.writable else os.O_RDONLY)
            lent = Descriptor(fd)  # closes it if the rest fails
            below = local_backing(request, fd)
        if below is None:
            return OpenedVolume(descriptor=lent)
        return OpenedVolume(descriptor=lent, backing=below.path, backing_format=below.format)


def local_backing(request: OpenVolume, fd: int) -> ChainLink | None:
    """The local image below an open one; None: there is none, or it is remote.

    Raises:
        VirError: the chain cannot be trusted.
        OSError: it cannot be read.
    """
    if request.format == PLAIN:
        return None

    def read(path: str) -> OpenImage:
        if path != request.path:
            return read_head(path)
        status = os.fstat(fd)
        return OpenImage(os.pread(fd, HEADER_BYTES, 0), (status.st_dev, status.st_ino))

    try:
        layers = resolve_chain(request.path, request.format, read)
    except ConfError as error:
        raise from_conf_error(error, ErrorDomain.STORAGE) from error
    return layers[1] if len(layers) > 1 and layers[1].path else None
