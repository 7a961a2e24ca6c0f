"""The headers of the formats that other programs brought along.

Owns: their layouts: vmdk, vpc, vdi, vhdx, bochs, cloop, parallels, cow, iso, dmg, LUKS. Pure.
Source: the formats' own documents, and QEMU's block drivers for what it accepts.
"""

from __future__ import annotations

from typing import Final

from supervisor.images.image import MAX_NAME, Damaged, ImageFacts, name, number, size

SECTOR: Final = 512
VMDK_DESCRIPTOR: Final = 20 * SECTOR  # at most so much of a descriptor is looked at
ISO_MARK: Final = 32769
DMG_TRAILER: Final = b"koly"
_PARENT: Final = b'parentFileNameHint="'
_COW_NAME: Final = 1024


def read_vmdk(data: bytes) -> ImageFacts:
    """VMware's, with its descriptor inside."""
    version = number(data, 4, "<I")
    if version not in (1, 2, 3):
        raise Damaged(f"its vmdk version {version} is unknown")
    start = number(data, 28, "<Q") * SECTOR
    descriptor = data[start : start + VMDK_DESCRIPTOR] if start <= len(data) else b""
    below = _parent(descriptor.partition(b"\0")[0])
    return ImageFacts(
        format="vmdk",
        capacity=size(data, 12, "<Q", SECTOR),
        backing_file=below,
        backing_format="vmdk" if below is not None else None,  # it can be nothing else
    )


def _parent(descriptor: bytes) -> str | None:
    """The image below, as a vmdk's descriptor names it."""
    _, found, rest = descriptor.partition(_PARENT)
    if not found:
        return None
    said, closed, _ = rest.partition(b'"')
    if not closed or len(said) > MAX_NAME:
        raise Damaged("a parentFileNameHint that does not end")
    return said.decode(errors="surrogateescape") or None


def read_vpc(data: bytes) -> ImageFacts:
    """Virtual PC's; only those that grow have their mark at the beginning."""
    if number(data, 12, ">I") != 0x00010000:
        raise Damaged("its vpc version is unknown")
    return ImageFacts(format="vpc", capacity=size(data, 48, ">Q"))


def read_vdi(data: bytes) -> ImageFacts:
    """VirtualBox's."""
    if number(data, 68, "<I") != 0x00010001:
        raise Damaged("its vdi version is unknown")
    return ImageFacts(format="vdi", capacity=size(data, 368, "<Q"))


def read_vhdx(data: bytes) -> ImageFacts:
    """Hyper-V's; its size lies deep inside."""
    return ImageFacts(format="vhdx")


def read_bochs(data: bytes) -> ImageFacts:
    """Bochs's."""
    version = number(data, 64, "<I")
    if version not in (0x00010000, 0x00020000):
        raise Damaged(f"its bochs version {version:#x} is unknown")
    return ImageFacts(format="bochs", capacity=size(data, 84 if version == 0x10000 else 88, "<Q"))


def read_cloop(data: bytes) -> ImageFacts:
    """A compressed loop device's."""
    block, count = number(data, 128, ">I"), number(data, 132, ">I")
    return ImageFacts(format="cloop", capacity=block * count, cluster_size=block)


def read_ploop(data: bytes) -> ImageFacts:
    """Parallels', and ploop's, which is the same."""
    if number(data, 16, "<I") != 2:
        raise Damaged("its parallels version is unknown")
    sectors = "<Q" if data.startswith(b"WithouFreSpacExt") else "<I"
    return ImageFacts(
        format="ploop",
        capacity=size(data, 36, sectors, SECTOR),
        cluster_size=size(data, 28, "<I", SECTOR),
    )


def read_cow(data: bytes) -> ImageFacts:
    """User mode Linux's."""
    if number(data, 4, ">I") != 2:
        raise Damaged("its cow version is unknown")
    said = data[8 : 8 + _COW_NAME].partition(b"\0")[0]
    return ImageFacts(
        format="cow",
        capacity=size(data, 8 + _COW_NAME + 4, ">Q"),
        backing_file=name(said, 0, len(said)) or None,
    )


def read_iso(data: bytes) -> ImageFacts:
    """A CD's or DVD's: what a guest sees is the whole file."""
    return ImageFacts(format="iso")


def read_dmg(tail: bytes) -> ImageFacts:
    """Apple's: the mark is in the last 512 bytes."""
    return ImageFacts(format="dmg", capacity=size(tail, 492, ">Q", SECTOR))


def read_luks(data: bytes) -> ImageFacts:
    """LUKS on its own: raw contents, encrypted, as libvirt sees it."""
    version = number(data, 6, ">H")
    if version == 1:
        payload = size(data, 104, ">I", SECTOR)
        return ImageFacts(format="raw", encryption="luks", payload_offset=payload)
    if version == 2:
        return ImageFacts(format="raw", encryption="luks2")
    raise Damaged(f"its LUKS version {version} is unknown")
