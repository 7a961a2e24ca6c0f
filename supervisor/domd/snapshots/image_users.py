"""Which images a domain and its snapshots consist of, and which of them are based on which.

Owns: the answers whether an image's file may be removed, and what else is based on an image that is
merged. May touch: headers of images, to read; every function that does blocks.

libvirt trusts its tree of snapshots there, and a tree that a user has redefined wrongly costs the
data. Here an image is kept that any definition, or the domain in any snapshot, consists of: named
by its XML, or by the header of an image above. The overlays that snapshots list are no such use:
each is what was written after its snapshot, and nobody can go back there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final

from conf.domain import Domain
from conf.domain.devices.disk_chain import Layer, layers
from conf.domain.devices.source import Source
from conf.errors import ConfError
from conf.snapshot.model import Snapshot, SnapshotLocation
from supervisor.images import resolve_chain
from supervisor.images.files import read_image_file

EXTERNAL: Final = (SnapshotLocation.EXTERNAL, SnapshotLocation.MANUAL)
INTERNAL: Final = (SnapshotLocation.INTERNAL,)


class UnknownChain(Exception):
    """The header of an image that is needed cannot be read."""


class ImageUsers:
    """The images that are needed, and what each is based on; made by `find_users`."""

    def __init__(
        self, needed: set[str], backing: dict[str, Layer], known: dict[str, Layer]
    ) -> None:
        self._needed = needed
        self._backing = backing
        self._known = known

    def is_needed(self, path: str) -> bool:
        """Return whether a definition or a snapshot consists of an image."""
        return path in self._needed

    def based_on(self, path: str) -> list[Layer]:
        """List the images whose headers name an image, also overlays that snapshots list."""
        return [self._known[above] for above, below in self._backing.items() if below.path == path]


def domain_layers(domain: Domain) -> Iterator[Layer]:
    """List the local images of a domain that its XML names."""
    for disk in domain.devices.disks:
        yield from (layer for layer in layers(disk) if layer.path)


def find_users(
    snapshots: Iterable[Snapshot], definitions: Iterable[Domain], *, but: Snapshot | None = None
) -> ImageUsers:
    """Find out what is needed, and what each image is based on.

    Args:
        snapshots: of the domain.
        definitions: that the domain has now.
        but: a snapshot that is about to be deleted: what it alone consists of is not needed. If
            that was begun before, its overlays may be merged and gone, though others name them.

    Raises:
        UnknownChain: a header cannot be read; nothing may be removed then.
    """
    known: dict[str, Layer] = {}
    roots: set[str] = set()
    for definition in definitions:
        _add(known, domain_layers(definition), roots)
    for snapshot in snapshots:
        for nested in (snapshot.domain, snapshot.inactive_domain):
            if nested is not None:
                _add(known, domain_layers(nested.model), roots if snapshot is not but else set())
        for item in (*snapshot.disks, *snapshot.revert_disks):
            if item.is_external and item.source is not None and item.type in ("file", "block"):
                overlay = Layer(type=item.type, source=item.source, format=item.format or "qcow2")
                _add(known, [overlay], set())
    if but is not None and but.is_deleted:
        merged = {item.path for item in but.disks if item.is_external}
        roots -= {path for path in merged if not os.path.lexists(path)}
    backing: dict[str, Layer] = {}
    for layer in list(known.values()):
        _follow(layer, known, backing, needed=layer.path in roots)
    return ImageUsers(_closure(roots, backing), backing, known)


def _add(known: dict[str, Layer], found: Iterable[Layer], roots: set[str]) -> None:
    for layer in found:
        if layer.path:
            known.setdefault(layer.path, layer)
            roots.add(layer.path)


def _follow(
    layer: Layer, known: dict[str, Layer], backing: dict[str, Layer], *, needed: bool
) -> None:
    """Note what an image is based on, and what that is based on."""
    try:
        chain = whole_chain([layer])
    except (OSError, ConfError) as error:
        if not needed:
            return  # an overlay that is gone: its snapshot was left
        raise UnknownChain(f"{layer.path}: {error}") from error
    for above, below in pairwise(chain):
        if above.path and below.path:
            known.setdefault(below.path, below)
            backing[above.path] = below


def _closure(roots: set[str], backing: dict[str, Layer]) -> set[str]:
    needed: set[str] = set()
    for root in roots:
        at: str | None = root
        while at is not None and at not in needed:
            needed.add(at)
            below = backing.get(at)
            at = below.path if below is not None else None
    return needed


def find_dependent(target: Snapshot, snapshots: Iterable[Snapshot]) -> tuple[Snapshot, str] | None:
    """Find another snapshot that consists of an image which reverting to a snapshot writes to.

    Reverting to a snapshot in images changes their bytes, and the guest goes on writing to them.
    Snapshots in the same image do not mind that; those whose moment has the image as a file do.

    Returns:
        That snapshot and the image's path.
    """
    written = {images[0] for images in _images(target, external=False) if images}
    for other in snapshots:
        if other is target:
            continue
        frozen = [path for images in _images(other, external=True) for path in images]
        frozen += [path for images in _images(other, external=False) for path in images[1:]]
        for path in frozen:
            if path in written:
                return other, path
    return None


def snapshot_inside(path: str, snapshots: Iterable[Snapshot]) -> Snapshot | None:
    """Find a snapshot that is in an image, and would be lost with it."""
    for snapshot in snapshots:
        if snapshot.domain is None:
            continue
        for disk in snapshot.domain.model.devices.disks:
            item, chain = snapshot.disk(disk.target.dev), layers(disk)
            if chain and chain[0].path == path and item and item.snapshot in INTERNAL:
                return snapshot
    return None


def _images(snapshot: Snapshot, *, external: bool) -> Iterator[list[str]]:
    """List the images, the top first, of each disk that took part in one way."""
    if snapshot.domain is None:
        return
    for disk in snapshot.domain.model.devices.disks:
        item = snapshot.disk(disk.target.dev)
        if item is None or item.snapshot not in (EXTERNAL if external else INTERNAL):
            continue
        chain = layers(disk)
        # What is below a header that cannot be read is of no use to anybody.
        with contextlib.suppress(OSError, ConfError):
            chain = whole_chain(chain, ends=disk.chain_ends())
        yield [layer.path for layer in chain if layer.path]


def whole_chain(chain: list[Layer], *, ends: bool = False) -> list[Layer]:
    """List the images of a chain, also those that only headers name.

    Args:
        chain: what the XML names; the last one's header is followed.
        ends: the XML says that nothing is below.

    Raises:
        OSError, ConfError: a header cannot be read, or is damaged.
    """
    if ends or not chain or chain[-1].path is None:
        return chain
    links = resolve_chain(chain[-1].path, chain[-1].format, read_image_file)
    found = [
        Layer(type="file", source=Source(file=link.path), format=link.format)
        for link in links[1:]
        if link.path
    ]
    return [*chain, *found]
