"""Headers of image files on this host.

Owns: reading them. May touch: the images' first 33 KiB, to read. May block: call it in a thread.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from supervisor.images.chain import OpenImage
from supervisor.images.image import HEADER_BYTES


@dataclass(frozen=True, slots=True)
class Image(OpenImage):
    """The header of an image, and whether it is a block device."""

    is_device: bool


def read_image_file(path: str) -> Image:
    """Read the header of an image.

    Raises:
        OSError: it is missing, unreadable, or neither a file nor a device.
    """
    # O_NONBLOCK: opening a FIFO for reading would wait for a writer.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        status = os.fstat(fd)
        if stat.S_ISCHR(status.st_mode):
            # QEMU's host_device takes one. It has no header, and to read it may have effects.
            return Image(b"", status.st_rdev, is_device=True)
        is_device = stat.S_ISBLK(status.st_mode)
        if not is_device and not stat.S_ISREG(status.st_mode):
            raise OSError(0, "neither a file nor a block device", path)
        identity = status.st_rdev if is_device else (status.st_dev, status.st_ino)
        return Image(os.pread(fd, HEADER_BYTES, 0), identity, is_device)
    finally:
        os.close(fd)
