"""XDR primitives: strings, opaque bytes, characters and counts, each with its limit.

Owns: their encoding, and the two errors. Numbers need no function: `rpc.codecs` packs adjacent
ones with one `struct` call.
May not touch: the table, sockets.
Source: RFC 4506; protocol/features_9_0.md for what libvirt does differently.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

MAX_STRING: Final = 4194304  # bytes
U32: Final = struct.Struct(">I")
_PADS: Final = (b"", b"\0", b"\0\0", b"\0\0\0")


class DecodeError(ValueError):
    """The bytes are not of the type in the table."""


class EncodeError(ValueError):
    """The value does not fit the type in the table."""


class ResultTooLarge(EncodeError):
    """A value has the right type, and more bytes or elements than the protocol takes."""


def read_string(data: bytes, at: int) -> tuple[str, int]:
    """Read a string; return it and the position after it."""
    (size,) = U32.unpack_from(data, at)
    at += 4
    after = at + size + (-size & 3)
    if size > MAX_STRING or after > len(data):
        raise DecodeError(f"a string of {size} bytes where {len(data) - at} are left")
    text = data[at : at + size].decode()
    if "\0" in text:
        raise DecodeError("a string with a NUL in it")
    return text, after


def write_string(text: str) -> bytes:
    """Encode a string."""
    data = text.encode()
    if len(data) > MAX_STRING:
        raise ResultTooLarge(f"a string of {len(data)} bytes; the protocol takes {MAX_STRING}")
    if b"\0" in data:
        raise EncodeError("a string with a NUL in it")
    return U32.pack(len(data)) + data + _PADS[-len(data) & 3]


def read_opaque(data: bytes, at: int, limit: int) -> tuple[bytes, int]:
    """Read opaque<limit>."""
    (size,) = U32.unpack_from(data, at)
    at += 4
    after = at + size + (-size & 3)
    if size > limit or after > len(data):
        raise DecodeError(
            f"{size} bytes where at most {limit} may be and {len(data) - at} are left"
        )
    return data[at : at + size], after


def write_opaque(value: bytes, limit: int) -> bytes:
    """Encode opaque<limit>."""
    if len(value) > limit:
        raise ResultTooLarge(f"{len(value)} bytes where at most {limit} may be")
    return U32.pack(len(value)) + value + _PADS[-len(value) & 3]


def read_fixed(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    """Read opaque[size]."""
    after = at + size + (-size & 3)
    if after > len(data):
        raise DecodeError(f"{len(data) - at} bytes where {size} must be")
    return data[at : at + size], after


def write_fixed(value: bytes, size: int) -> bytes:
    """Encode opaque[size]."""
    if len(value) != size:
        raise EncodeError(f"{len(value)} bytes where {size} must be")
    return value + _PADS[-size & 3]


def read_chars(data: bytes, at: int, limit: int, *, fixed: bool) -> tuple[bytes, int]:
    """Read an array of char; XDR gives each four bytes."""
    count = limit
    if not fixed:
        count, at = read_count(data, at, limit, 4)
    end = at + 4 * count
    if end > len(data):
        raise DecodeError(f"{count} characters in {len(data) - at} bytes")
    return data[at + 3 : end : 4], end


def write_chars(value: bytes, limit: int, *, fixed: bool) -> bytes:
    """Encode an array of char, each as a signed integer of four bytes."""
    if len(value) > limit or (fixed and len(value) != limit):
        raise EncodeError(f"{len(value)} characters where {limit} may be")
    signed = struct.unpack(f"{len(value)}b", value)
    return (b"" if fixed else U32.pack(len(value))) + struct.pack(f">{len(value)}i", *signed)


def read_count(data: bytes, at: int, limit: int, least: int) -> tuple[int, int]:
    """Read an array's count; one for which too few bytes are left is refused before allocation."""
    (count,) = U32.unpack_from(data, at)
    if count > limit:
        raise DecodeError(f"{count} elements where at most {limit} may be")
    if count * least > len(data) - at - 4:
        raise DecodeError(f"{count} elements in {len(data) - at - 4} bytes")
    return count, at + 4


def write_count(value: Sequence[Any], limit: int) -> bytes:
    """Encode an array's count."""
    if len(value) > limit:
        raise ResultTooLarge(f"{len(value)} elements where at most {limit} may be")
    return U32.pack(len(value))


def within(number: int, low: int, high: int) -> None:
    """Check a number to be encoded against its type of less than four bytes."""
    if not low <= number <= high:
        raise EncodeError(f"{number} is not from {low} to {high}")


def narrow(number: int, low: int, high: int) -> None:
    """Check a decoded number against its type of less than four bytes."""
    if not low <= number <= high:
        raise DecodeError(f"{number} is not from {low} to {high}")
