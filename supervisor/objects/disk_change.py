"""Changes of a disk's images that a guest has made, and that its definition must follow.

Owns: `DiskChange`, and what it makes of a definition. Pure. May not touch: files, guests.
Source: libvirt 9.0, qemuBlockJobProcessEventCompletedCommit and its siblings.

A guest that writes to an overlay must be started from the overlay next time. The worker changes the
guest, records the change in its status file, and keeps it there until domd has written the
definition: whichever process dies in between, the next one finds the change and applies it again.
Applied twice, a list of changes leads to the same images as applied once; the definition may name
fewer of those below the top one, which QEMU finds in the images' headers.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from conf.domain import Domain
from conf.domain.device_xml import parse_device
from conf.domain.devices.disk import Disk
from conf.domain.devices.disk_chain import Layer, layers, push_overlay, set_layers


class DiskChange(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a disk's chain."""

    number: int  # counts the changes of one guest
    target: str
    before: list[str]  # the locations of the chain's images, from the top down
    disk: str  # the running guest's <disk> after the change, as in a definition


def apply_changes(domain: Domain, changes: Iterable[DiskChange]) -> bool:
    """Apply changes to a definition, which is changed in place; whether anything is different.

    A disk of the definition that has another image than the guest's had is left alone: somebody
    has redefined it.
    """
    changed = False
    for change in changes:
        for disk in domain.devices.disks:
            if disk.target.dev == change.target:
                changed |= _apply(disk, change)
    return changed


def _apply(disk: Disk, change: DiskChange) -> bool:
    current = layers(disk)
    if not current or current[0].location != change.before[0]:
        return False
    _, device = parse_device(change.disk)
    assert isinstance(device, Disk), "the worker wrote a <disk>"
    new = layers(device)
    if [one.location for one in current] == [one.location for one in new[: len(current)]]:
        return False  # it was applied before, or changes nothing that is named
    below, terminated = _below(disk, current, new, change, ends=device.chain_ends())
    ends = disk.chain_ends()
    if len(below) == len(current) and terminated == ends:
        push_overlay(disk, new[0])
        return True
    set_layers(disk, [new[0], *below], terminated=terminated)
    return (current, ends) != (layers(disk), disk.chain_ends())


def _below(
    disk: Disk, current: list[Layer], new: list[Layer], change: DiskChange, *, ends: bool
) -> tuple[list[Layer], bool]:
    """Choose what of the definition's chain stays below the new top image.

    A definition need not name the chain, which is in the images; what it names must be right.
    """
    stays = {layer.location for layer in new} - {new[0].location}
    same = len(current) <= len(change.before) and all(
        layer.location == before for layer, before in zip(current, change.before, strict=False)
    )
    if new[0].location not in change.before and change.before[0] not in stays:
        # A copy: it was made for this disk, and the chain that is named is all that there is.
        below = [layer for layer in current[1:] if same and layer.location in stays]
        return below, not below and len(new) == 1 and ends
    if not same:  # the definition has another chain below the same image
        return [layer for layer in current[:1] if layer.location in stays], False
    below = [layer for layer in current if layer.location in stays]
    has_all = len(current) > 1 and len(new) == 1 and disk_ends(new, change)
    return below, disk.chain_ends() or has_all


def disk_ends(new: list[Layer], change: DiskChange) -> bool:
    """Return whether the guest's whole chain was merged into its top image."""
    return len(change.before) > 1 and new[0].location == change.before[0]
