"""Plans QEMU's dirty bitmaps: what a `transaction` adds, merges and removes for checkpoints. Pure.

Owns: which bitmap a checkpoint has in which image, and what each operation on images does to them.
May touch: values only; who calls has asked QEMU which bitmaps there are, and sends the actions.
Source: libvirt 9.0, qemu_checkpoint.c, qemuBlockGetBitmapMergeActions, qemuBlockBitmapChainIsValid;
QEMU 7.2, block-dirty-bitmap-add and its siblings.

A checkpoint of a disk is a persistent bitmap of the checkpoint's name in the disk's top image. It
stays enabled, so it has what was written since the checkpoint, whatever others there are. A new
overlay gets an empty bitmap of each name: then "since C" is the union of the bitmaps named C from
the top image down. Deleting a checkpoint removes its bitmaps, and merges nothing.

| what it offers | for |
| --- | --- |
| `NodeBitmaps` | what `query-named-block-nodes` says of bitmaps, by node |
| `checkpoint_actions` | the bitmaps of a new checkpoint, also inside another transaction |
| `incremental_actions` | one bitmap of all that was written since a checkpoint (backup, size) |
| `overlay_actions` | the bitmaps of a new overlay, in the transaction that puts it on the disk |
| `job_end_actions`, `before_pivot` | the bitmaps of images that a block job has merged or copied |
| `deletion` | removing a checkpoint |
| `add`, `remove`, `merge` | single actions |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from rpc.errors import ErrorCode, ErrorDomain, VirError

Action = dict[str, object]

#: The bitmap of a mirror's target that has what is written from the pivot on, until the job's
#: end is handled; libvirt's name, which a client sees in QMP.
ACTIVE_WRITES: Final = "libvirt-tmp-activewrite"


class Bitmap(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a node's `dirty-bitmaps`."""

    name: str = ""  # a bitmap of one of QEMU's own jobs has none
    granularity: int = 65536  # bytes
    count: int = 0  # dirty bytes
    recording: bool = False  # it is enabled: writes are noted
    persistent: bool = False  # it is stored in the image
    inconsistent: bool = False  # QEMU did not store it at its exit: it can only be removed
    busy: bool = False


NodeBitmaps = Mapping[str, Mapping[str, Bitmap]]  # by the node's name, by the bitmap's


def bitmap_of(found: NodeBitmaps, node: str, name: str) -> Bitmap | None:
    """Return a node's bitmap of the name."""
    return found.get(node, {}).get(name)


# Single actions.


def add(
    node: str,
    name: str,
    *,
    persistent: bool = True,
    disabled: bool = False,
    granularity: int = 0,
) -> Action:
    """Add an empty bitmap; a granularity of 0 bytes leaves it to QEMU."""
    data: dict[str, object] = {"node": node, "name": name, "persistent": persistent}
    data["disabled"] = disabled
    if granularity:
        data["granularity"] = granularity
    return {"type": "block-dirty-bitmap-add", "data": data}


def remove(node: str, name: str) -> Action:
    """Remove a bitmap."""
    return {"type": "block-dirty-bitmap-remove", "data": {"node": node, "name": name}}


def merge(node: str, name: str, sources: Iterable[tuple[str, str]]) -> Action:
    """Merge bitmaps, each given as its node and its name, into another one."""
    bitmaps = [{"node": source, "name": bitmap} for source, bitmap in sources]
    data = {"node": node, "target": name, "bitmaps": bitmaps}
    return {"type": "block-dirty-bitmap-merge", "data": data}


# Checkpoints.


def checkpoint_actions(tops: Iterable[str], name: str) -> list[Action]:
    """Begin a checkpoint.

    Args:
        tops: the nodes of the top images of the disks that take part.
        name: the checkpoint's, and that of its bitmaps.
    """
    return [add(node, name) for node in tops]


def is_chain_valid(chain: Sequence[str], name: str, found: NodeBitmaps) -> bool:
    """Return whether a disk's bitmaps of a name say all that was written since the checkpoint.

    The top image has one, no image between two that have one lacks it, and each is usable.
    libvirt does not look whether the top image has one; without it, writes would be missing.

    Args:
        chain: the nodes of the disk's images, from the top down.
        name: the checkpoint's.
        found: what QEMU has.
    """
    has = [bitmap_of(found, node, name) for node in chain]
    part = [bitmap for bitmap in has if bitmap is not None]
    consecutive = has[: len(part)] == part
    usable = all(not bitmap.inconsistent and bitmap.persistent for bitmap in part)
    # What the guest writes now is noted in the top image alone.
    return bool(part) and consecutive and usable and part[0].recording


def check_chain(chain: Sequence[str], name: str, found: NodeBitmaps, *, disk: str) -> None:
    """Refuse a checkpoint whose bitmaps do not say all that was written since.

    Args:
        chain: the nodes of the disk's images, from the top down.
        name: the checkpoint's.
        found: what QEMU has.
        disk: its target, for the message.

    Raises:
        VirError: CHECKPOINT_INCONSISTENT.
    """
    if not is_chain_valid(chain, name, found):
        detail = f"missing or broken bitmap '{name}' for disk '{disk}'"
        raise VirError(ErrorCode.CHECKPOINT_INCONSISTENT, detail, ErrorDomain.QEMU)


def incremental_actions(
    chain: Sequence[str],
    name: str,
    found: NodeBitmaps,
    *,
    disk: str,
    into: str,
    node: str | None = None,
) -> list[Action]:
    """Make one temporary bitmap of all that was written to a disk since a checkpoint.

    Args:
        chain: the nodes of the disk's images, from the top down.
        name: the checkpoint's.
        found: what QEMU has.
        disk: its target, for the message.
        into: the new bitmap's name; it is disabled and not stored.
        node: the node that gets it; None: that of the disk's top image.

    Raises:
        VirError: CHECKPOINT_INCONSISTENT.
    """
    check_chain(chain, name, found, disk=disk)
    node = node or chain[0]
    part = [(at, bitmap) for at in chain if (bitmap := bitmap_of(found, at, name)) is not None]
    granularity = max(bitmap.granularity for _, bitmap in part)
    return [
        add(node, into, persistent=False, disabled=True, granularity=granularity),
        merge(node, into, [(at, name) for at, _ in part]),
    ]


@dataclass(frozen=True, slots=True)
class Deletion:
    """How the bitmaps of a checkpoint are removed from a disk."""

    actions: list[Action]
    reopen: list[str]  # nodes that are opened for reading only, and must be opened for writing


def deletion(chain: Sequence[str], name: str, found: NodeBitmaps, *, disk: str) -> Deletion:
    """Remove a checkpoint's bitmaps from all images of a disk.

    Args:
        chain: the nodes of the disk's images, from the top down.
        name: the checkpoint's.
        found: what QEMU has.
        disk: its target, for the message.

    Raises:
        VirError: INTERNAL_ERROR: no image has one.
    """
    nodes = [node for node in chain if bitmap_of(found, node, name) is not None]
    if not nodes:
        detail = f"bitmap '{name}' not found in backing chain of '{disk}'"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU)
    return Deletion(
        actions=[remove(node, name) for node in nodes],
        reopen=[node for node in nodes if node != chain[0]],
    )


# Operations on images.


def overlay_actions(top: str, overlay: str, found: NodeBitmaps) -> list[Action]:
    """Have a new overlay note the writes of every checkpoint that the image below it notes."""
    return [
        add(overlay, bitmap.name, granularity=bitmap.granularity)
        for bitmap in found.get(top, {}).values()
        if bitmap.persistent and bitmap.recording and not bitmap.inconsistent
    ]


def before_pivot(target: str, found: NodeBitmaps) -> list[Action]:
    """Have the target of a mirror note what is written to it from the pivot on.

    The job's end is handled later, and what the guest writes until then belongs to every
    checkpoint.
    """
    if bitmap_of(found, target, ACTIVE_WRITES) is not None:
        return []  # an attempt to pivot that failed
    return [add(target, ACTIVE_WRITES, persistent=False)]


def job_end_actions(sources: Sequence[str], target: str, found: NodeBitmaps) -> list[Action]:
    """Merge the bitmaps of images into those of the image that has their data now.

    It can be repeated: a merge adds nothing the second time.

    Args:
        sources: the nodes of the images whose data the target has got, from the top down.
        target: the node of the image that has it.
        found: what QEMU has.
    """
    active = bitmap_of(found, target, ACTIVE_WRITES) is not None
    actions: list[Action] = []
    for name in _names(sources, found):
        part = [node for node in sources if _usable(bitmap_of(found, node, name)) is not None]
        existing = bitmap_of(found, target, name)
        if existing is not None and existing.inconsistent:
            continue  # what it lost cannot be had back: the checkpoint stays inconsistent
        if existing is None:
            granularity = max(found[node][name].granularity for node in part)
            actions.append(add(target, name, granularity=granularity))
        merged = [(node, name) for node in part if node != target]
        if active:
            merged.append((target, ACTIVE_WRITES))
        if merged:
            actions.append(merge(target, name, merged))
    if active:
        actions.append(remove(target, ACTIVE_WRITES))
    return actions


def _names(nodes: Sequence[str], found: NodeBitmaps) -> list[str]:
    """List the bitmaps of checkpoints whose writes the images have whole, in a stable order.

    An image below may have one that the image above lacks, or that is inconsistent there: the data
    that is merged has writes that it did not note, and a copy of it would be trusted.
    """
    names = dict.fromkeys(name for node in nodes for name in found.get(node, {}))
    chosen = []
    for name in names:
        has = [bitmap_of(found, node, name) for node in nodes]
        part = [bitmap for bitmap in has if bitmap is not None]
        whole = has[: len(part)] == part and all(_usable(bitmap) for bitmap in part)
        if whole:
            chosen.append(name)
    return chosen


def _usable(bitmap: Bitmap | None) -> Bitmap | None:
    """Return a bitmap of a checkpoint that says what it should; None for others."""
    if bitmap is None or not bitmap.persistent or bitmap.inconsistent:
        return None
    return bitmap
