"""What an image's header says.

Owns: `ImageInfo`, and reading numbers out of bytes without running over their end. Pure.
May not touch: files; what the numbers mean is each format's.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

#: As much of an image's beginning as is ever looked at: the mark of an ISO lies at 32769.
HEADER_BYTES: Final = 33 * 1024
#: Sizes beyond what a file can have are lies.
MAX_SIZE: Final = 2**63 - 1
#: The longest name of a backing file; QEMU takes no longer one.
MAX_NAME: Final = 1023


class CorruptImage(Exception):
    """A header contradicts itself or ends too early; the message says where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInfo:
    """An image, as its header describes it; None and "" where it says nothing."""

    format: str  # "raw" when no format's mark is there
    capacity: int | None = None  # bytes that a guest sees; None: as long as the file
    cluster_size: int | None = None  # bytes
    compat: str = ""  # of qcow2: "0.10" or "1.1"
    lazy_refcounts: bool = False
    extended_l2: bool = False
    backing_file: str | None = None  # as it is written there, trusted by nobody
    backing_format: str | None = None  # None: not named
    data_file: str | None = None  # qcow2's contents lie in another file, of this name
    encryption: str = ""  # "aes", "luks" or "luks2"
    payload_offset: int | None = None  # of LUKS: where the contents begin, in bytes
    corruption: str = ""  # what is wrong with the header; nothing else of it is to be trusted then

    @property
    def format_name(self) -> str:
        """The format as libvirt's documents name it; it has no words for some."""
        return "raw" if self.format in ("luks", "vhdx") else self.format

    def size_for_guest(self, file_size: int) -> int:
        """The capacity, for a file of so many bytes."""
        if self.capacity is not None:
            return self.capacity
        return max(file_size - (self.payload_offset or 0), 0)


def number(data: bytes, offset: int, layout: str) -> int:
    """One number; `layout` is struct's, ">Q".

    Raises:
        CorruptImage: the data ends before it.
    """
    try:
        value: int = struct.unpack_from(layout, data, offset)[0]
    except struct.error:
        raise CorruptImage(f"it ends before byte {offset + struct.calcsize(layout)}") from None
    return value


def size(data: bytes, offset: int, layout: str, unit: int = 1) -> int:
    """A number of units, in bytes.

    Raises:
        CorruptImage: the data ends before it, or it is larger than any file.
    """
    value = number(data, offset, layout) * unit
    if value > MAX_SIZE:
        raise CorruptImage(f"its size of {value} bytes cannot be")
    return value


def name(data: bytes, offset: int, length: int) -> str:
    """A file's name.

    Raises:
        CorruptImage: it is too long, or lies beyond what is read of a header, or has a NUL.
    """
    if length > MAX_NAME:
        raise CorruptImage(f"a name of {length} bytes; {MAX_NAME} are accepted")
    raw = data[offset : offset + length] if offset <= len(data) else b""
    if len(raw) != length:
        raise CorruptImage(f"a name at byte {offset}, beyond what is read of a header")
    if b"\0" in raw:
        raise CorruptImage("a name with a NUL in it")
    return raw.decode(errors="surrogateescape")
