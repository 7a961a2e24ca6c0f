"""Backing chain of an image (virStorageSource's backingStore).

Owns: following the chain, its end and its refusals. Pure: the caller's function reads.
May not touch: files.

A format comes from the XML or from the referring header; it is never probed, because a guest can
write a qcow2 header with any backing file into its raw disk (CVE-2008-2004). The top image is raw
without a named format. A backing file without a named format is refused if it refers to another
file itself, as by libvirt 9.0.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

from conf.errors import ConfError
from supervisor.images.backing_file import BackingReference, parse_backing_name
from supervisor.images.header import CHAINED, read_image, read_image_as
from supervisor.images.image import ImageInfo

#: Formats that a header may name for its backing file.
FORMATS: Final = frozenset(
    (
        "raw", "qcow", "qcow2", "qed", "vmdk", "vdi", "vpc", "vhdx", "bochs", "cloop", "dmg",
        "parallels", "luks", "cow", "iso",
    )
)  # fmt: skip
#: Older qemu-img wrote a protocol driver as the backing format.
PROTOCOLS: Final = {"file": "raw", "host_device": "raw", "host_cdrom": "raw"}
#: libvirt's limit.
MAX_DEPTH: Final = 200


@dataclass(frozen=True, slots=True)
class OpenImage:
    """Header and identity of an opened image."""

    head: bytes  # its first `HEADER_BYTES`
    identity: Hashable  # of the file: (st_dev, st_ino)


@dataclass(frozen=True, slots=True)
class ChainLink:
    """One image of a chain."""

    reference: BackingReference
    format: str
    info: ImageInfo | None  # None: it is remote and was not read

    @property
    def path(self) -> str:
        """Return a local image's path; "" for a remote one."""
        return self.reference.path


Read = Callable[[str], OpenImage]


def resolve_chain(path: str, image_format: str | None, read: Read) -> list[ChainLink]:
    """Follow a backing chain to its end.

    Args:
        path: of the top image.
        image_format: its format; None without one in the XML: it is raw then.
        read: opens an image by its path; its OSError goes through.

    Returns:
        The images from the top down. A remote image is the last: it is not read.

    Raises:
        ConfError: "operation_invalid" for a backing file without a named format that refers to
            another file; "internal" for loops, for chains of more than `MAX_DEPTH`
            images and for corrupt headers; "config_unsupported" for an external data file.
    """
    links: list[ChainLink] = []
    seen: set[Hashable] = set()
    reference: BackingReference | None = BackingReference(path=path)
    for _ in range(MAX_DEPTH):
        if reference is None:
            return links
        image_format = _check_format(image_format or reference.format, reference, links)
        if reference.remote:
            return [*links, _remote(reference, image_format, links)]
        image = read(reference.path)
        if image.identity in seen:
            detail = f"backing store for {path} is self-referential: {reference.path} occurs twice"
            raise ConfError("internal", detail)
        seen.add(image.identity)
        link = _link(reference, image_format, image, links[-1] if links else None)
        links.append(link)
        reference, image_format = _next(link)
    if reference is None:
        return links
    detail = f"backing store for {path} is nested too deep: there are more than {MAX_DEPTH} images"
    raise ConfError("internal", detail)


def _check_format(
    image_format: str | None, reference: BackingReference, links: list[ChainLink]
) -> str | None:
    """Normalize and check the format that a header names."""
    image_format = PROTOCOLS.get(image_format or "", image_format)
    if image_format is None or not links or image_format in FORMATS:
        return image_format
    detail = (
        f"the header of image '{links[-1].path}' names an unknown format '{image_format[:40]}' for "
    )
    raise ConfError(
        "internal", f"{detail}the image '{reference.path or reference.remote[:200]}' below"
    )


def _remote(
    reference: BackingReference, image_format: str | None, links: list[ChainLink]
) -> ChainLink:
    """Make the link of a remote image."""
    if image_format is None:
        detail = (
            f"format of backing image '{reference.remote[:200]}' of image '{links[-1].path}' was "
        )
        raise ConfError("operation_invalid", f"{detail}not specified in the image metadata")
    return ChainLink(reference, image_format, None)


def _link(
    reference: BackingReference, image_format: str | None, image: OpenImage, above: ChainLink | None
) -> ChainLink:
    if image_format is None:
        image_format = "raw" if above is None else _detect_format(reference, image, above)
    info = read_image_as(image_format, image.head)
    if info.corruption:
        detail = f"image '{reference.path}' has a corrupt header: {info.corruption}"
        raise ConfError("internal", detail)
    if info.data_file is not None:
        detail = f"image '{reference.path}' has an external data file, '{info.data_file}'; "
        detail += "such images are not supported, convert it with qemu-img convert"
        raise ConfError("config_unsupported", detail)
    return ChainLink(reference, image_format, info)


def _detect_format(reference: BackingReference, image: OpenImage, above: ChainLink) -> str:
    """Detect the format of a backing file whose format the header above does not name.

    A detected format is harmless only if the image refers to no other file.

    Raises:
        ConfError: "operation_invalid": it refers to another file.
    """
    detected = read_image(image.head)
    if detected.format in ("raw", "iso"):
        return "raw"
    if detected.backing_file is None and detected.data_file is None and not detected.corruption:
        return detected.format_name
    detail = (
        f"format of backing image '{reference.path}' of image '{above.path}' was not specified in "
        f"the image metadata, and it looks like {detected.format} with another backing file; set "
        f"it in the header of '{above.path}' with qemu-img rebase -u -F FORMAT -b FILE"
    )
    raise ConfError("operation_invalid", detail)


def _next(link: ChainLink) -> tuple[BackingReference | None, str | None]:
    """Return the backing file of an image and its format, if the header names it."""
    info = link.info
    if info is None or link.format not in CHAINED or info.backing_file is None:
        return None, None
    return parse_backing_name(info.backing_file, link.path), info.backing_format
