"""POSIX access control lists: one user's entry in a file's list.

Owns: the list's binary form, and the change of it. May touch: the attribute of an open file.
Source: acl(5); Linux, include/uapi/linux/posix_acl_xattr.h.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

ATTRIBUTE: Final = "system.posix_acl_access"
VERSION: Final = 2
HEADER: Final = struct.Struct("<I")
ENTRY: Final = struct.Struct("<HHI")
NO_ID: Final = 0xFFFFFFFF
READ: Final = 4
WRITE: Final = 2


class Tag(IntEnum):
    """Whom an entry is for."""

    USER_OBJ = 0x01
    USER = 0x02
    GROUP_OBJ = 0x04
    GROUP = 0x08
    MASK = 0x10
    OTHER = 0x20


#: Those that the mask limits.
MASKED: Final = (Tag.USER, Tag.GROUP_OBJ, Tag.GROUP)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry."""

    tag: Tag
    permissions: int
    id: int = NO_ID


def from_mode(mode: int) -> list[Entry]:
    """Make the list that a file without one has."""
    return [
        Entry(Tag.USER_OBJ, mode >> 6 & 7),
        Entry(Tag.GROUP_OBJ, mode >> 3 & 7),
        Entry(Tag.OTHER, mode & 7),
    ]


def parse(data: bytes) -> list[Entry]:
    """Read the attribute.

    Raises:
        ValueError: it is no list of the version that the kernel has.
    """
    if len(data) < HEADER.size or HEADER.unpack_from(data)[0] != VERSION:
        raise ValueError("it is no access control list")
    try:
        fields = list(ENTRY.iter_unpack(data[HEADER.size :]))
    except struct.error as error:
        raise ValueError(str(error)) from error
    return [Entry(Tag(tag), permissions, number) for tag, permissions, number in fields]


def encode(entries: Sequence[Entry]) -> bytes:
    """Write the attribute, in the order that the kernel asks for."""
    ordered = sorted(entries, key=lambda entry: (entry.tag, entry.id))
    return HEADER.pack(VERSION) + b"".join(
        ENTRY.pack(entry.tag, entry.permissions, entry.id) for entry in ordered
    )


def with_user(entries: Sequence[Entry], uid: int, permissions: int) -> list[Entry]:
    """Let a user do this, too; what others may do is as before, also where the mask limited it."""
    mask = next((entry.permissions for entry in entries if entry.tag is Tag.MASK), 7)
    others = [
        replace(entry, permissions=entry.permissions & mask) if entry.tag in MASKED else entry
        for entry in entries
        if entry.tag is not Tag.MASK and (entry.tag, entry.id) != (Tag.USER, uid)
    ]
    return _with_mask([*others, Entry(Tag.USER, permissions, uid)])


def without_user(entries: Sequence[Entry], uid: int) -> list[Entry]:
    """Remove a user's entry."""
    if not any((entry.tag, entry.id) == (Tag.USER, uid) for entry in entries):
        return list(entries)
    return _with_mask(
        [
            entry
            for entry in entries
            if entry.tag is not Tag.MASK and (entry.tag, entry.id) != (Tag.USER, uid)
        ]
    )


def _with_mask(entries: list[Entry]) -> list[Entry]:
    """Add the mask that a list with more than the mode's three entries needs."""
    if not any(entry.tag in (Tag.USER, Tag.GROUP) for entry in entries):
        return entries
    mask = 0
    for entry in entries:
        mask |= entry.permissions if entry.tag in MASKED else 0
    return [*entries, Entry(Tag.MASK, mask)]


def grant(fd: int, uid: int, permissions: int) -> None:
    """Let a user read or write an open file.

    Raises:
        OSError: EOPNOTSUPP: its file system has no lists.
    """
    path = f"/proc/self/fd/{fd}"
    os.setxattr(path, ATTRIBUTE, encode(with_user(_read(path), uid, permissions)))


def revoke(fd: int, uid: int) -> None:
    """Remove a user's entry from an open file's list.

    Raises:
        OSError: the kernel refuses.
    """
    path = f"/proc/self/fd/{fd}"
    before = _read(path)
    after = without_user(before, uid)
    if after != before:
        os.setxattr(path, ATTRIBUTE, encode(after))


def _read(path: str) -> list[Entry]:
    try:
        return parse(os.getxattr(path, ATTRIBUTE))
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
        return from_mode(os.stat(path).st_mode)
    except ValueError as error:
        raise OSError(errno.EINVAL, str(error)) from error
