"""XDR's pieces: strings, bytes, characters and counts, each with its limit.

Owns: how a piece stands on the wire, and the two errors. Numbers need no function of their own:
`rpc.codecs` packs neighbouring ones with one `struct` call.
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
    """Bytes that are not what the table says."""


class EncodeError(ValueError):
    """A value that the table's type cannot hold."""


def read_string(data: bytes, at: int) -> tuple[str, int]:
    """Read a string and where the next thing begins."""
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
    """Write a string."""
    data = text.encode()
    if len(data) > MAX_STRING:
        raise EncodeError(f"a string of {len(data)} bytes; the protocol takes {MAX_STRING}")
    if b"\0" in data:
        raise EncodeError("a string with a NUL in it")
    return U32.pack(len(data)) + data + _PADS[-len(data) & 3]


def read_opaque(data: bytes, at: int, limit: int) -> tuple[bytes, int]:
    """Read bytes of any number up to the limit."""
    (size,) = U32.unpack_from(data, at)
    at += 4
    after = at + size + (-size & 3)
    if size > limit or after > len(data):
        raise DecodeError(
            f"{size} bytes where at most {limit} may be and {len(data) - at} are left"
        )
    return data[at : at + size], after


def write_opaque(value: bytes, limit: int) -> bytes:
    """Write bytes of any number up to the limit."""
    if len(value) > limit:
        raise EncodeError(f"{len(value)} bytes where at most {limit} may be")
    return U32.pack(len(value)) + value + _PADS[-len(value) & 3]


def read_fixed(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    """Read just so many bytes."""
    after = at + size + (-size & 3)
    if after > len(data):
        raise DecodeError(f"{len(data) - at} bytes where {size} must be")
    return data[at : at + size], after


def write_fixed(value: bytes, size: int) -> bytes:
    """Write just so many bytes."""
    if len(value) != size:
        raise EncodeError(f"{len(value)} bytes where {size} must be")
    return value + _PADS[-size & 3]


def read_chars(data: bytes, at: int, limit: int, *, fixed: bool) -> tuple[bytes, int]:
    """Read characters of four bytes each."""
    count = limit
    if not fixed:
        count, at = read_count(data, at, limit, 4)
    end = at + 4 * count
    if end > len(data):
        raise DecodeError(f"characters that are cut short: {count} were said")
    return data[at + 3 : end : 4], end


def write_chars(value: bytes, limit: int, *, fixed: bool) -> bytes:
    """Write characters of four bytes each; each is a signed one."""
    if len(value) > limit or (fixed and len(value) != limit):
        raise EncodeError(f"{len(value)} characters; the place is for {limit}")
    signed = struct.unpack(f"{len(value)}b", value)
    return (b"" if fixed else U32.pack(len(value))) + struct.pack(f">{len(value)}i", *signed)


def read_count(data: bytes, at: int, limit: int, least: int) -> tuple[int, int]:
    """Read how many elements follow; refuses more than there can be bytes for."""
    (count,) = U32.unpack_from(data, at)
    if count > limit:
        raise DecodeError(f"{count} elements where at most {limit} may be")
    if count * least > len(data) - at - 4:
        raise DecodeError(f"{count} elements in {len(data) - at - 4} bytes")
    return count, at + 4


def write_count(value: Sequence[Any], limit: int) -> bytes:
    """Write how many elements follow."""
    if len(value) > limit:
        raise EncodeError(f"{len(value)} elements where at most {limit} may be")
    return U32.pack(len(value))


def within(number: int, low: int, high: int) -> None:
    """Refuse to write a number that its narrow type cannot hold."""
    if not low <= number <= high:
        raise EncodeError(f"{number} is not from {low} to {high}")


def narrow(number: int, low: int, high: int) -> None:
    """Refuse a number, read from its four bytes, that its narrow type cannot hold."""
    if not low <= number <= high:
        raise DecodeError(f"{number} is not from {low} to {high}")
