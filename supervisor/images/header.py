"""Detects an image's format by its magic bytes.

Owns: the table of magics and their order. Pure.
May not touch: files. A guest may have written the bytes in order to be taken for another format:
callers that know the format use `read_image_as`, which does not probe.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from supervisor.images import formats, qcow
from supervisor.images.image import HEADER_BYTES, CorruptImage, ImageInfo

Reader = Callable[[bytes], ImageInfo]


@dataclass(frozen=True, slots=True)
class Magic:
    """Magic bytes of a format, and the parser of its header."""

    offset: int
    magic: bytes
    format: str
    read: Reader


MAGICS: Final = (
    Magic(0, qcow.QCOW_MAGIC, "qcow2", qcow.read_qcow),
    Magic(0, qcow.QED_MAGIC, "qed", qcow.read_qed),
    Magic(0, b"KDMV", "vmdk", formats.read_vmdk),
    Magic(0, b"conectix", "vpc", formats.read_vpc),
    Magic(64, b"\x7f\x10\xda\xbe", "vdi", formats.read_vdi),
    Magic(0, b"vhdxfile", "vhdx", formats.read_vhdx),
    Magic(0, b"LUKS\xba\xbe", "raw", formats.read_luks),
    Magic(0, b"Bochs Virtual HD Image", "bochs", formats.read_bochs),
    Magic(0, b"#!/bin/sh\n#V2.0 Format", "cloop", formats.read_cloop),
    Magic(0, b"WithoutFreeSpace", "ploop", formats.read_ploop),
    Magic(0, b"WithouFreSpacExt", "ploop", formats.read_ploop),
    Magic(0, b"OOOM", "cow", formats.read_cow),
    Magic(formats.ISO_MAGIC_OFFSET, b"CD001", "iso", formats.read_iso),
)
#: Formats with backing files; other images end a chain.
CHAINED: Final = frozenset(("qcow", "qcow2", "qed", "vmdk", "cow"))


def read_image(head: bytes, tail: bytes = b"") -> ImageInfo:
    """Detect the format of an image.

    A corrupt header is no error: `corruption` is set and nothing else, so that a pool with such a
    file can be refreshed.

    Args:
        head: the first `HEADER_BYTES`, or the whole image.
        tail: the last 512 bytes if available; a dmg is detected by them only.
    """
    head = head[:HEADER_BYTES]
    for mark in MAGICS:
        if head.startswith(mark.magic, mark.offset):
            return _read(mark, head)
    if len(tail) == formats.SECTOR and tail.startswith(formats.DMG_TRAILER):
        return _read(Magic(0, formats.DMG_TRAILER, "dmg", formats.read_dmg), tail)
    return ImageInfo(format="raw")


def read_image_as(image_format: str, head: bytes) -> ImageInfo:
    """Parse an image of a known format; nothing is probed.

    Raw stays raw, whatever a guest has written to its beginning; only LUKS is reported.
    """
    head = head[:HEADER_BYTES]
    for mark in MAGICS:
        if not head.startswith(mark.magic, mark.offset):
            continue
        info = _read(mark, head)
        if info.format == image_format:
            return info
    if image_format in CHAINED:
        return ImageInfo(format=image_format, corruption=f"it has no {image_format} header")
    return ImageInfo(format=image_format)


def _read(mark: Magic, data: bytes) -> ImageInfo:
    try:
        return mark.read(data)
    except CorruptImage as error:
        return ImageInfo(format=mark.format, corruption=str(error))
