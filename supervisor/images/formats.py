"""The headers of the formats that other programs brought along.

Owns: their layouts: vmdk, vpc, vdi, vhdx, bochs, cloop, parallels, cow, iso, dmg, LUKS. Pure.
Source: the formats' own documents, and QEMU's block drivers for what it accepts.
"""

from __future__ import annotations

from typing import Final

from supervisor.images.image import MAX_NAME, CorruptImage, ImageInfo, name, number, size

SECTOR: Final = 512
VMDK_DESCRIPTOR: Final = 20 * SECTOR  # at most so much of a descriptor is looked at
ISO_MAGIC_OFFSET: Final = 32769
DMG_TRAILER: Final = b"koly"
_PARENT: Final = b'parentFileNameHint="'
_COW_NAME: Final = 1024


def read_vmdk(data: bytes) -> ImageInfo:
    """VMware's, with its descriptor inside."""
    version = number(data, 4, "<I")
    if version not in (1, 2, 3):
        raise CorruptImage(f"its vmdk version {version} is unknown")
    start = number(data, 28, "<Q") * SECTOR
    descriptor = data[start : start + VMDK_DESCRIPTOR] if start <= len(data) else b""
    parent = _parent(descriptor.partition(b"\0")[0])
    return ImageInfo(
        format="vmdk",
        capacity=size(data, 12, "<Q", SECTOR),
        backing_file=parent,
        backing_format="vmdk" if parent is not None else None,  # it can be nothing else
    )


def _parent(descriptor: bytes) -> str | None:
    """The image below, as a vmdk's descriptor names it."""
    _, key, rest = descriptor.partition(_PARENT)
    if not key:
        return None
    hint, closed, _ = rest.partition(b'"')
    if not closed or len(hint) > MAX_NAME:
        raise CorruptImage("a parentFileNameHint that does not end")
    return hint.decode(errors="surrogateescape") or None


def read_vpc(data: bytes) -> ImageInfo:
    """Virtual PC's; only those that grow have their mark at the beginning."""
    if number(data, 12, ">I") != 0x00010000:
        raise CorruptImage("its vpc version is unknown")
    return ImageInfo(format="vpc", capacity=size(data, 48, ">Q"))


def read_vdi(data: bytes) -> ImageInfo:
    """VirtualBox's."""
    if number(data, 68, "<I") != 0x00010001:
        raise CorruptImage("its vdi version is unknown")
    return ImageInfo(format="vdi", capacity=size(data, 368, "<Q"))


def read_vhdx(data: bytes) -> ImageInfo:
    """Hyper-V's; its size lies deep inside."""
    return ImageInfo(format="vhdx")


def read_bochs(data: bytes) -> ImageInfo:
    """Bochs's."""
    version = number(data, 64, "<I")
    if version not in (0x00010000, 0x00020000):
        raise CorruptImage(f"its bochs version {version:#x} is unknown")
    return ImageInfo(format="bochs", capacity=size(data, 84 if version == 0x10000 else 88, "<Q"))


def read_cloop(data: bytes) -> ImageInfo:
    """A compressed loop device's."""
    block, count = number(data, 128, ">I"), number(data, 132, ">I")
    return ImageInfo(format="cloop", capacity=block * count, cluster_size=block)


def read_ploop(data: bytes) -> ImageInfo:
    """Parallels', and ploop's, which is the same."""
    if number(data, 16, "<I") != 2:
        raise CorruptImage("its parallels version is unknown")
    sectors = "<Q" if data.startswith(b"WithouFreSpacExt") else "<I"
    return ImageInfo(
        format="ploop",
        capacity=size(data, 36, sectors, SECTOR),
        cluster_size=size(data, 28, "<I", SECTOR),
    )


def read_cow(data: bytes) -> ImageInfo:
    """User mode Linux's."""
    if number(data, 4, ">I") != 2:
        raise CorruptImage("its cow version is unknown")
    backing = data[8 : 8 + _COW_NAME].partition(b"\0")[0]
    return ImageInfo(
        format="cow",
        capacity=size(data, 8 + _COW_NAME + 4, ">Q"),
        backing_file=name(backing, 0, len(backing)) or None,
    )


def read_iso(data: bytes) -> ImageInfo:
    """A CD's or DVD's: what a guest sees is the whole file."""
    return ImageInfo(format="iso")


def read_dmg(tail: bytes) -> ImageInfo:
    """Apple's: the mark is in the last 512 bytes."""
    return ImageInfo(format="dmg", capacity=size(tail, 492, ">Q", SECTOR))


def read_luks(data: bytes) -> ImageInfo:
    """LUKS on its own: raw contents, encrypted, as libvirt sees it."""
    version = number(data, 6, ">H")
    if version == 1:
        payload = size(data, 104, ">I", SECTOR)
        return ImageInfo(format="raw", encryption="luks", payload_offset=payload)
    if version == 2:
        return ImageInfo(format="raw", encryption="luks2")
    raise CorruptImage(f"its LUKS version {version} is unknown")
