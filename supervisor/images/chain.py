"""An image and all those below it.

Owns: walking down a chain, and when to stop or to refuse. Pure: the caller's function reads.
May not touch: files.

A format is taken from the document or from the header above. Contents that a guest may have
written lead nowhere: the uppermost image counts as raw when nobody named its format, and an image
below whose format the header above does not name is refused if it in turn names another file, as
libvirt 9.0 does.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

from conf.errors import ConfError
from supervisor.images.backing_file import BackingReference, parse_backing_name
from supervisor.images.header import CHAINED, read_image, read_image_as
from supervisor.images.image import ImageInfo

#: The formats that a header may name for the image below.
FORMATS: Final = frozenset(
    (
        "raw", "qcow", "qcow2", "qed", "vmdk", "vdi", "vpc", "vhdx", "bochs", "cloop", "dmg",
        "parallels", "luks", "cow", "iso",
    )
)  # fmt: skip
#: Headers written by older programs name the way to the bytes in place of a format.
PROTOCOLS: Final = {"file": "raw", "host_device": "raw", "host_cdrom": "raw"}
#: libvirt's own limit of a chain.
MAX_DEPTH: Final = 200


@dataclass(frozen=True, slots=True)
class OpenImage:
    """What reading an image gave."""

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
        """A local image's path; "" of a remote one."""
        return self.reference.path


Read = Callable[[str], OpenImage]


def resolve_chain(path: str, image_format: str | None, read: Read) -> list[ChainLink]:
    """Follow an image down to the one that nothing is below.

    Args:
        path: of the uppermost image.
        image_format: its format; None where nobody has said it, it counts as raw then.
        read: opens an image by its path; its OSError goes through.

    Returns:
        The layers from the top down. A remote image is the last: it is not read.

    Raises:
        ConfError: "operation_invalid" for an image whose format the one above does not name, and
            that names another file; "internal" for loops, for chains of more than `MAX_DEPTH`
            images and for damaged headers; "config_unsupported" for contents in another file.
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
            detail = (
                f"backing store for {path} is self-referential: {reference.path} is in it twice"
            )
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
    """A format's name, as far as it is one."""
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
    """An image that is not read here."""
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
        detail = f"the header of image '{reference.path}' cannot be used: {info.corruption}"
        raise ConfError("internal", detail)
    if info.data_file is not None:
        detail = f"image '{reference.path}' has its contents in another file, '{info.data_file}'; "
        detail += "such images are not supported, convert it with qemu-img convert"
        raise ConfError("config_unsupported", detail)
    return ChainLink(reference, image_format, info)


def _detect_format(reference: BackingReference, image: OpenImage, above: ChainLink) -> str:
    """The format of an image that the one above does not name.

    What looks like raw is raw. What looks like another format is that, if it leads to no other
    file, for then it does no harm.

    Raises:
        ConfError: "operation_invalid": it leads on.
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
    """Where the next image is, and its format as far as this one says it."""
    info = link.info
    if info is None or link.format not in CHAINED or info.backing_file is None:
        return None, None
    return parse_backing_name(info.backing_file, link.path), info.backing_format
