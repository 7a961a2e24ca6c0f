"""Parsed image header, and bounds-checked reads from its bytes. Pure.

Owns: `ImageInfo`, those reads. May not touch: files.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

#: Bytes of an image's beginning that are parsed: the magic of ISO 9660 is at 32769.
HEADER_BYTES: Final = 33 * 1024
#: The largest off_t; larger sizes are invalid.
MAX_SIZE: Final = 2**63 - 1
#: QEMU's limit of a backing file's name.
MAX_NAME: Final = 1023


class CorruptImage(Exception):
    """A header is inconsistent or truncated; the message says where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInfo:
    """An image's header; None and "" for fields it does not have."""

    format: str  # "raw" without a known magic
    capacity: int | None = None  # virtual size in bytes; None: the file's size
    cluster_size: int | None = None  # bytes
    compat: str = ""  # of qcow2: "0.10" or "1.1"
    lazy_refcounts: bool = False
    extended_l2: bool = False
    bitmaps: bool = False  # qcow2: it has dirty bitmaps
    backing_file: str | None = None  # unchecked text of the header
    backing_format: str | None = None  # None: not named
    data_file: str | None = None  # name of qcow2's external data file
    encryption: str = ""  # "aes", "luks" or "luks2"
    payload_offset: int | None = None  # of LUKS: where the data begins, in bytes
    corruption: str = ""  # error of the header; no other field is valid then

    @property
    def format_name(self) -> str:
        """Return libvirt's name of the format; it has none for luks and vhdx."""
        return "raw" if self.format in ("luks", "vhdx") else self.format

    def size_for_guest(self, file_size: int) -> int:
        """Return the virtual size, for a file of `file_size` bytes.

        libvirt takes a header's 0 as unknown: such an image is as large as its file.
        """
        if self.capacity:
            return self.capacity
        return max(file_size - (self.payload_offset or 0), 0)


def number(data: bytes, offset: int, layout: str) -> int:
    """Read a number; `layout` is a struct format, ">Q".

    Raises:
        CorruptImage: the data ends before it.
    """
    try:
        value: int = struct.unpack_from(layout, data, offset)[0]
    except struct.error:
        raise CorruptImage(f"truncated before byte {offset + struct.calcsize(layout)}") from None
    return value


def size(data: bytes, offset: int, layout: str, unit: int = 1) -> int:
    """Read a size in units and return it in bytes.

    Raises:
        CorruptImage: the data ends before it, or it exceeds `MAX_SIZE`.
    """
    value = number(data, offset, layout) * unit
    if value > MAX_SIZE:
        raise CorruptImage(f"invalid size {value}")
    return value


def name(data: bytes, offset: int, length: int) -> str:
    """Read a file name.

    Raises:
        CorruptImage: too long, beyond `HEADER_BYTES`, or with a NUL.
    """
    if length > MAX_NAME:
        raise CorruptImage(f"file name of {length} bytes, the limit is {MAX_NAME}")
    raw = data[offset : offset + length] if offset <= len(data) else b""
    if len(raw) != length:
        raise CorruptImage(f"file name at byte {offset} beyond the header")
    if b"\0" in raw:
        raise CorruptImage("file name with a NUL")
    return raw.decode(errors="surrogateescape")
