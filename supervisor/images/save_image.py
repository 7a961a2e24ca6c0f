"""The save image (virDomainSave): its header, XML and cookie, before QEMU's migration stream.

Owns: the format and its checks. Pure. May not touch: files; what the XML says.
Source: libvirt 9.0's virQEMUSaveHeader, measured: magic (16 bytes), version, length of XML and
cookie with their padding, whether the guest ran, compression, offset of the cookie (32 bits each,
in the byte order of the host that wrote them), 56 bytes unused; then XML, cookie, each ended by a
NUL. A file whose magic says "Part" was not finished: it is never restored.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

MAGIC: Final = b"LibvirtQemudSave"
PARTIAL: Final = b"LibvirtQemudPart"
VERSION: Final = 2
HEADER_BYTES: Final = 92
PADDING: Final = 64 * 1024  # bytes: an edited XML may be longer than the first one by so many
MAX_DATA: Final = 32 << 20  # bytes of XML and cookie that are read
COOKIE: Final = "<cookie>\n</cookie>\n"  # of an image with nothing that is not in its XML
_NATIVE: Final = struct.Struct("=16s5I56x")
_SWAPPED: Final = struct.Struct(">16s5I56x" if struct.pack("=H", 1) == b"\1\0" else "<16s5I56x")


class Compression(IntEnum):
    """virQEMUSaveFormat; the names in lower case are those of qemu.conf, and of the programs."""

    RAW = 0
    GZIP = 1
    BZIP2 = 2
    XZ = 3
    LZOP = 4
    ZSTD = 5

    @property
    def program(self) -> str:
        """The program that packs and unpacks the stream; "": it is raw."""
        return "" if self is Compression.RAW else self.name.lower()


class SaveImageError(Exception):
    """A file is no save image that can be restored; the text is libvirt's."""


class IncompleteImage(SaveImageError):
    """The file was never finished: too short for a header, or marked as partly written."""


@dataclass(frozen=True, slots=True)
class SaveHeader:
    """The fixed part of a save image."""

    data_len: int  # bytes after the header and before the stream
    was_running: bool
    compression: int  # `Compression`, or a number that this version does not know
    cookie_offset: int = 0  # bytes of the XML before the cookie; 0: there is no cookie

    @property
    def stream_offset(self) -> int:
        """Where QEMU's stream begins in the file, in bytes."""
        return HEADER_BYTES + self.data_len

    def encode(self, *, complete: bool) -> bytes:
        """Encode it; an incomplete image has another magic."""
        magic = MAGIC if complete else PARTIAL
        fields = (self.data_len, int(self.was_running), self.compression, self.cookie_offset)
        return _NATIVE.pack(magic, VERSION, *fields)


@dataclass(frozen=True, slots=True)
class SaveData:
    """All that precedes the stream of a save image."""

    header: SaveHeader
    xml: str
    cookie: str = ""

    def encode(self, *, complete: bool) -> bytes:
        """Encode header, XML, cookie and padding: `header.stream_offset` bytes."""
        texts = _texts(self.xml, self.cookie)
        padded = texts.ljust(self.header.data_len, b"\0")
        return self.header.encode(complete=complete) + padded


def new_image(
    xml: str, *, was_running: bool, compression: Compression, cookie: str = COOKIE
) -> SaveData:
    """Describe a new image, with room for a longer XML."""
    offset = len(xml.encode()) + 1
    header = SaveHeader(
        data_len=len(_texts(xml, cookie)) + PADDING,
        was_running=was_running,
        compression=compression,
        cookie_offset=offset,
    )
    return SaveData(header, xml, cookie)


def with_xml(data: SaveData, xml: str, *, was_running: bool) -> SaveData:
    """Replace the XML of an image, within the room that it has.

    Raises:
        SaveImageError: it is too long.
    """
    if len(_texts(xml, data.cookie)) > data.header.data_len:
        raise SaveImageError("new xml too large to fit in file")
    offset = len(xml.encode()) + 1 if data.cookie else 0
    header = SaveHeader(data.header.data_len, was_running, data.header.compression, offset)
    return SaveData(header, xml, data.cookie)


def read_header(head: bytes) -> SaveHeader:
    """Read the first `HEADER_BYTES` of a file.

    Raises:
        IncompleteImage: there are fewer, or the image was not finished.
        SaveImageError: it is no save image, or one of a later version.
    """
    if len(head) < HEADER_BYTES:
        raise IncompleteImage("failed to read qemu header")
    magic, version, data_len, was_running, compression, offset = _NATIVE.unpack_from(head)
    if magic == PARTIAL:
        raise IncompleteImage("save image is incomplete")
    if magic != MAGIC:
        raise SaveImageError("image magic is incorrect")
    if version > VERSION:
        # Written by a host of the other byte order.
        _, version, data_len, was_running, compression, offset = _SWAPPED.unpack_from(head)
    if version > VERSION:
        raise SaveImageError(f"image version is not supported ({version} > {VERSION})")
    if data_len == 0:
        raise SaveImageError(f"invalid header data length: {data_len}")
    if data_len > MAX_DATA:
        raise SaveImageError(f"the domain XML has {data_len} bytes; {MAX_DATA} are accepted")
    # Before version 2 a stream was never compressed, and the field was unused.
    return SaveHeader(data_len, bool(was_running), compression if version == VERSION else 0, offset)


def read_data(header: SaveHeader, data: bytes) -> SaveData:
    """Read the `header.data_len` bytes after a header.

    Raises:
        SaveImageError: there are fewer, or they are no text.
    """
    xml_len = header.cookie_offset or header.data_len
    if len(data) < min(xml_len, header.data_len):
        raise SaveImageError("failed to read domain XML")
    if len(data) < header.data_len or xml_len > header.data_len:
        raise SaveImageError("failed to read cookie")
    return SaveData(header, _text(data[:xml_len]), _text(data[xml_len : header.data_len]))


def _texts(xml: str, cookie: str) -> bytes:
    return b"".join(text.encode() + b"\0" for text in (xml, cookie) if text)


def _text(data: bytes) -> str:
    try:
        return data.partition(b"\0")[0].decode()
    except UnicodeDecodeError as error:
        raise SaveImageError(f"failed to read domain XML: {error}") from None
