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
from supervisor.images.backing_file import Place, place_of
from supervisor.images.header import CHAINED, read_image, read_image_as
from supervisor.images.image import ImageFacts

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
class Opened:
    """What reading an image gave."""

    head: bytes  # its first `HEADER_BYTES`
    identity: Hashable  # of the file: (st_dev, st_ino)


@dataclass(frozen=True, slots=True)
class Layer:
    """One image of a chain."""

    place: Place
    format: str
    facts: ImageFacts | None  # None: it is remote and was not read

    @property
    def path(self) -> str:
        """A local image's path; "" of a remote one."""
        return self.place.path


Read = Callable[[str], Opened]


def resolve_chain(path: str, form: str | None, read: Read) -> list[Layer]:
    """Follow an image down to the one that nothing is below.

    Args:
        path: of the uppermost image.
        form: its format; None where nobody has said it, it counts as raw then.
        read: opens an image by its path; its OSError goes through.

    Returns:
        The layers from the top down. A remote image is the last: it is not read.

    Raises:
        ConfError: "operation_invalid" for an image whose format the one above does not name, and
            that names another file; "internal" for loops, for chains of more than `MAX_DEPTH`
            images and for damaged headers; "config_unsupported" for contents in another file.
    """
    layers: list[Layer] = []
    seen: set[Hashable] = set()
    place: Place | None = Place(path=path)
    for _ in range(MAX_DEPTH):
        if place is None:
            return layers
        form = _known(form or place.format, place, layers)
        if place.remote:
            return [*layers, _remote(place, form, layers)]
        opened = read(place.path)
        if opened.identity in seen:
            detail = f"backing store for {path} is self-referential: {place.path} is in it twice"
            raise ConfError("internal", detail)
        seen.add(opened.identity)
        layer = _layer(place, form, opened, layers[-1] if layers else None)
        layers.append(layer)
        place, form = _below(layer)
    if place is None:
        return layers
    detail = f"backing store for {path} is nested too deep: there are more than {MAX_DEPTH} images"
    raise ConfError("internal", detail)


def _known(form: str | None, place: Place, layers: list[Layer]) -> str | None:
    """A format's name, as far as it is one."""
    form = PROTOCOLS.get(form or "", form)
    if form is None or not layers or form in FORMATS:
        return form
    detail = f"the header of image '{layers[-1].path}' names an unknown format '{form[:40]}' for "
    raise ConfError("internal", f"{detail}the image '{place.path or place.remote[:200]}' below")


def _remote(place: Place, form: str | None, layers: list[Layer]) -> Layer:
    """An image that is not read here."""
    if form is None:
        detail = f"format of backing image '{place.remote[:200]}' of image '{layers[-1].path}' was "
        raise ConfError("operation_invalid", f"{detail}not specified in the image metadata")
    return Layer(place, form, None)


def _layer(place: Place, form: str | None, opened: Opened, above: Layer | None) -> Layer:
    if form is None:
        form = "raw" if above is None else _unnamed(place, opened, above)
    facts = read_image_as(form, opened.head)
    if facts.damage:
        detail = f"the header of image '{place.path}' cannot be used: {facts.damage}"
        raise ConfError("internal", detail)
    if facts.data_file is not None:
        detail = f"image '{place.path}' has its contents in another file, '{facts.data_file}'; "
        detail += "such images are not supported, convert it with qemu-img convert"
        raise ConfError("config_unsupported", detail)
    return Layer(place, form, facts)


def _unnamed(place: Place, opened: Opened, above: Layer) -> str:
    """The format of an image that the one above does not name.

    What looks like raw is raw. What looks like another format is that, if it leads to no other
    file, for then it does no harm.

    Raises:
        ConfError: "operation_invalid": it leads on.
    """
    looks = read_image(opened.head)
    if looks.format in ("raw", "iso"):
        return "raw"
    if looks.backing_file is None and looks.data_file is None and not looks.damage:
        return looks.word
    detail = (
        f"format of backing image '{place.path}' of image '{above.path}' was not specified in the "
        f"image metadata, and it looks like {looks.format} with another image below; say it in "
        f"the header of '{above.path}' with qemu-img rebase -u -F FORMAT -b FILE"
    )
    raise ConfError("operation_invalid", detail)


def _below(layer: Layer) -> tuple[Place | None, str | None]:
    """Where the next image is, and its format as far as this one says it."""
    facts = layer.facts
    if facts is None or layer.format not in CHAINED or facts.backing_file is None:
        return None, None
    return place_of(facts.backing_file, layer.path), facts.backing_format
