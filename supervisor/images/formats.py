"""Header parsers of the formats that are not QEMU's own.

Owns: their layouts: vmdk, vpc, vdi, vhdx, bochs, cloop, parallels, cow, iso, dmg, LUKS. Pure.
Source: the formats' specifications; QEMU's block drivers for what it accepts.
"""

from __future__ import annotations

from typing import Final

from supervisor.images.image import MAX_NAME, CorruptImage, ImageInfo, name, number, size

SECTOR: Final = 512
VMDK_DESCRIPTOR: Final = 20 * SECTOR  # of a descriptor that is parsed
ISO_MAGIC_OFFSET: Final = 32769
DMG_TRAILER: Final = b"koly"
_PARENT: Final = b'parentFileNameHint="'
_COW_NAME: Final = 1024


def read_vmdk(data: bytes) -> ImageInfo:
    """Parse a sparse VMDK with an embedded descriptor."""
    version = number(data, 4, "<I")
    if version not in (1, 2, 3):
        raise CorruptImage(f"unknown vmdk version {version}")
    start = number(data, 28, "<Q") * SECTOR
    descriptor = data[start : start + VMDK_DESCRIPTOR] if start <= len(data) else b""
    parent = _parent(descriptor.partition(b"\0")[0])
    return ImageInfo(
        format="vmdk",
        capacity=size(data, 12, "<Q", SECTOR),
        backing_file=parent,
        backing_format="vmdk" if parent is not None else None,  # a parent is always a VMDK
    )


def _parent(descriptor: bytes) -> str | None:
    """Return the parent image that a VMDK's descriptor names."""
    _, key, rest = descriptor.partition(_PARENT)
    if not key:
        return None
    hint, closed, _ = rest.partition(b'"')
    if not closed or len(hint) > MAX_NAME:
        raise CorruptImage("unterminated parentFileNameHint")
    return hint.decode(errors="surrogateescape") or None


def read_vpc(data: bytes) -> ImageInfo:
    """Parse a dynamic VPC image; fixed ones have their magic at the end only."""
    if number(data, 12, ">I") != 0x00010000:
        raise CorruptImage("unknown vpc version")
    return ImageInfo(format="vpc", capacity=size(data, 48, ">Q"))


def read_vdi(data: bytes) -> ImageInfo:
    """Parse a VirtualBox VDI."""
    if number(data, 68, "<I") != 0x00010001:
        raise CorruptImage("unknown vdi version")
    return ImageInfo(format="vdi", capacity=size(data, 368, "<Q"))


def read_vhdx(data: bytes) -> ImageInfo:
    """Detect a Hyper-V VHDX; its size is in a metadata region beyond the header."""
    return ImageInfo(format="vhdx")


def read_bochs(data: bytes) -> ImageInfo:
    """Parse a Bochs image."""
    version = number(data, 64, "<I")
    if version not in (0x00010000, 0x00020000):
        raise CorruptImage(f"unknown bochs version {version:#x}")
    return ImageInfo(format="bochs", capacity=size(data, 84 if version == 0x10000 else 88, "<Q"))


def read_cloop(data: bytes) -> ImageInfo:
    """Parse a compressed loop device."""
    block, count = number(data, 128, ">I"), number(data, 132, ">I")
    return ImageInfo(format="cloop", capacity=block * count, cluster_size=block)


def read_ploop(data: bytes) -> ImageInfo:
    """Parse a Parallels image; ploop is the same format."""
    if number(data, 16, "<I") != 2:
        raise CorruptImage("unknown parallels version")
    sectors = "<Q" if data.startswith(b"WithouFreSpacExt") else "<I"
    return ImageInfo(
        format="ploop",
        capacity=size(data, 36, sectors, SECTOR),
        cluster_size=size(data, 28, "<I", SECTOR),
    )


def read_cow(data: bytes) -> ImageInfo:
    """Parse a User Mode Linux COW image."""
    if number(data, 4, ">I") != 2:
        raise CorruptImage("unknown cow version")
    backing = data[8 : 8 + _COW_NAME].partition(b"\0")[0]
    return ImageInfo(
        format="cow",
        capacity=size(data, 8 + _COW_NAME + 4, ">Q"),
        backing_file=name(backing, 0, len(backing)) or None,
    )


def read_iso(data: bytes) -> ImageInfo:
    """Detect an ISO 9660 image; its capacity is the file's size."""
    return ImageInfo(format="iso")


def read_dmg(tail: bytes) -> ImageInfo:
    """Parse an Apple DMG by its trailer, the last 512 bytes."""
    return ImageInfo(format="dmg", capacity=size(tail, 492, ">Q", SECTOR))


def read_luks(data: bytes) -> ImageInfo:
    """Parse a LUKS header; libvirt calls the format raw with encryption."""
    version = number(data, 6, ">H")
    if version == 1:
        payload = size(data, 104, ">I", SECTOR)
        return ImageInfo(format="raw", encryption="luks", payload_offset=payload)
    if version == 2:
        return ImageInfo(format="raw", encryption="luks2")
    raise CorruptImage(f"unknown LUKS version {version}")
