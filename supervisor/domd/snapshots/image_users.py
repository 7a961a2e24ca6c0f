"""Which images the definitions and snapshots of a domain are based on.

Owns: the answer whether an image's file may be removed. Pure. May not touch: files.

libvirt trusts its tree of snapshots there, and a tree that a user has redefined wrongly costs the
data. Here an image is kept that any definition or the domain in any snapshot names, as a disk's
image or as a backing file. The overlays that snapshots list are no such use: each is what was
written after its snapshot, and nobody can go back there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from conf.domain import Domain
from conf.domain.devices.disk_chain import layers
from conf.snapshot.model import Snapshot


def domain_images(domain: Domain) -> Iterator[str]:
    """List the local images of a domain that its XML names."""
    for disk in domain.devices.disks:
        for layer in layers(disk):
            if layer.path:
                yield layer.path


def based_on(
    snapshots: Iterable[Snapshot], definitions: Iterable[Domain], *, but: Snapshot | None = None
) -> set[str]:
    """Return the paths of all images that are needed.

    Args:
        snapshots: of the domain.
        definitions: that the domain has now.
        but: a snapshot that is about to be deleted.
    """
    used: set[str] = set()
    for domain in definitions:
        used |= set(domain_images(domain))
    for snapshot in snapshots:
        for nested in (snapshot.domain, snapshot.inactive_domain):
            if snapshot is not but and nested is not None:
                used |= set(domain_images(nested.model))
    return used
