"""Disk image formats: detection by header, backing chains. Pure.

Used by stord for volumes and by workers for guests' disks.
"""

from supervisor.images.chain import ChainLink, OpenImage, resolve_chain
from supervisor.images.header import CHAINED, read_image, read_image_as
from supervisor.images.image import HEADER_BYTES, ImageInfo

__all__ = [
    "CHAINED",
    "HEADER_BYTES",
    "ChainLink",
    "ImageInfo",
    "OpenImage",
    "read_image",
    "read_image_as",
    "resolve_chain",
]
