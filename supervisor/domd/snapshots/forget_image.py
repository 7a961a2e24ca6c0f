"""What the snapshots below a deleted one say of its overlays, which are merged into their images.

Owns: that. Pure.
Source: libvirt 9.0, qemuSnapshotUpdateDisksSingle.
"""

from __future__ import annotations

from conf.domain import Domain
from conf.domain.devices.disk import Disk
from conf.domain.devices.disk_chain import layers, set_layers
from conf.moment.nested_domain import NestedDomain
from conf.snapshot.model import Snapshot
from supervisor.domd.snapshots.tree import SnapshotTree


def forget_overlays(tree: SnapshotTree, deleted: Snapshot) -> list[Snapshot]:
    """Have the descendants of a snapshot refer to what its overlays were merged into.

    Args:
        tree: of the domain.
        deleted: still in the tree.

    Returns:
        The snapshots that have changed.
    """
    changed = []
    for name in tree.descendants(deleted.name):
        snapshot = tree.get(name)
        assert snapshot is not None, "the tree lists what it has"
        if _forget(snapshot, deleted):
            changed.append(snapshot)
    return changed


def _forget(snapshot: Snapshot, deleted: Snapshot) -> bool:
    changed = False
    for tag in ("domain", "inactiveDomain"):
        nested = snapshot.domain if tag == "domain" else snapshot.inactive_domain
        if nested is None:
            continue
        own = deleted.inactive_domain if tag == "inactiveDomain" else deleted.domain
        below = own or deleted.domain
        model = nested.copy()
        if below is None or not _forget_in(model, deleted, below.model):
            continue
        changed = True
        if tag == "domain":
            snapshot.domain = NestedDomain.of(model)
        else:
            snapshot.inactive_domain = NestedDomain.of(model, tag)
    return changed


def _forget_in(model: Domain, deleted: Snapshot, below: Domain) -> bool:
    changed = False
    images = {disk.target.dev: disk for disk in below.devices.disks}
    for disk in model.devices.disks:
        item = deleted.disk(disk.target.dev)
        image = images.get(disk.target.dev)
        if item is not None and image is not None and item.is_external:
            changed |= forget_layer(disk, item.location, image)
    return changed


def forget_layer(disk: Disk, location: str, image: Disk) -> bool:
    """Take an image out of a disk's chain; whether it was there.

    Args:
        disk: changed in place.
        location: of the image that is merged into the one below.
        image: a disk whose top image that is.
    """
    chain = layers(disk)
    place = next((at for at, layer in enumerate(chain) if layer.location == location), None)
    if place is None:
        return False
    ends = disk.chain_ends()
    below = chain[place + 1 :]
    if not below:
        # The XML did not name what is below: the merged image's own chain is in its header.
        below = layers(image)[:1] if place == 0 else []
    kept = [*chain[:place], *below]
    if not kept:
        return False
    set_layers(disk, kept, terminated=ends)
    return True
