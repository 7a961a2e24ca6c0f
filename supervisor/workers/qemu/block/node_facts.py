"""What has to be known of QEMU's block nodes before new images are added.

Owns: numbers for new nodes; how large disks are, and whether QEMU has dirty bitmaps.
May touch: QEMU, by QMP; the first bytes of top images, to read; the status, which the caller saves.

`query-named-block-nodes` says all of that, but QEMU makes a JSON name for an image whose chain is
not exactly what its header says, and does so for each image below each: with 100 images whose
headers have relative names it answers after two seconds. So the number and the bitmaps are
remembered from what this worker and its predecessors did, and sizes are read in the headers, which
QEMU writes when it resizes a disk.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from conf.domain.devices.disk import Disk
from conf.domain.devices.disk_chain import Layer, layers
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.images import read_image_as
from supervisor.images.image import HEADER_BYTES
from supervisor.images.new_qcow2 import CLUSTER, SECTOR, Shape
from supervisor.runtime.procfs import OpenFiles
from supervisor.workers.qemu.block.bitmaps import NodeBitmaps
from supervisor.workers.qemu.block.image_nodes import bitmaps_of, query_nodes, shape_of
from supervisor.workers.qemu.block.nodes import free_index, live_nodes
from supervisor.workers.qemu.guest import Guest

READ_S: Final = 15.0  # for the headers of all disks
RAW_OR_QCOW2: Final = ("raw", "qcow2")


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What is known of a guest's nodes."""

    bitmaps: NodeBitmaps
    shapes: Mapping[str, Shape]  # of disks' top images, by their targets

    def shape_of(self, target: str) -> Shape:
        """Return what a new image has of a disk's top one.

        Raises:
            VirError: INTERNAL_ERROR: it has no image.
        """
        if target not in self.shapes:
            detail = f"failed to query size of the image of disk '{target}'"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU)
        return self.shapes[target]


@dataclass(frozen=True, slots=True)
class Top:
    """What the header of a disk's top image says."""

    shape: Shape
    has_bitmaps: bool


async def find_facts(
    guest: Guest, disks: Sequence[Disk], *, noted: NodeBitmaps | None = None
) -> NodeFacts:
    """Find out what is known of some disks; the caller holds the device lock.

    The status has the last number of a node then.

    Args:
        guest: the guest.
        disks: those without an image are left out.
        noted: the bitmaps that there are, if the caller knows.

    Raises:
        VirError: QEMU does not say it; INTERNAL_ERROR: it has no such node.
    """
    status, disks = guest.status, [disk for disk in disks if layers(disk)]
    if status.last_node and (status.no_bitmaps or noted is not None):
        tops = await _read_tops(disks, status.pid)
        shapes = {target: top.shape for target, top in tops.items()}
        if len(shapes) == len(disks):
            if noted is not None:
                return NodeFacts(noted, shapes)
            if not any(top.has_bitmaps for top in tops.values()):
                return NodeFacts({}, shapes)
    found = await query_nodes(guest)
    bitmaps = bitmaps_of(found)
    take_numbers(guest, found, 0)
    if noted is None:  # or QEMU may hide them
        status.no_bitmaps = not any(bitmaps.values())
    shapes = {disk.target.dev: shape_of(found, live_nodes(disk).images[0]) for disk in disks}
    return NodeFacts(bitmaps if noted is None else noted, shapes)


def take_numbers(guest: Guest, found: Iterable[str], count: int) -> int:
    """Return the first of so many numbers that no node has had; the caller saves the status.

    Args:
        guest: the guest.
        found: the names of QEMU's nodes; none, where the status has the last number.
        count: of new images.
    """
    first = max(free_index(found), guest.status.last_node + 1)
    guest.status.last_node = first + count - 1
    return first


async def _read_tops(disks: Sequence[Disk], pid: int) -> dict[str, Top]:
    """Read the headers of local top images; others are left out."""
    chosen = {disk.target.dev: layers(disk)[0] for disk in disks}
    try:
        async with asyncio.timeout(READ_S):
            return await asyncio.to_thread(_read_all, chosen, pid)
    except TimeoutError:
        return {}  # QEMU is asked instead


def _read_all(chosen: dict[str, Layer], pid: int) -> dict[str, Top]:
    opened = OpenFiles(pid)
    read = ((target, read_top(layer, opened)) for target, layer in chosen.items())
    return {target: top for target, top in read if top is not None}


def read_top(layer: Layer, opened: Container[object]) -> Top | None:
    """Read the header of an image.

    The format is what the XML says: a guest that writes a header to a raw disk changes nothing.

    Args:
        layer: the image.
        opened: the files that QEMU has: another one may be at the image's path by now.

    Returns:
        None: QEMU has to be asked.
    """
    source = layer.source
    is_plain = layer.type == "file" and layer.format in RAW_OR_QCOW2 and not source.slices
    if not is_plain or source.encryption is not None or not layer.path:
        return None
    try:
        fd = os.open(layer.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            head = os.pread(fd, HEADER_BYTES, 0) if layer.format == "qcow2" else b""
            status = os.fstat(fd)
        finally:
            os.close(fd)
    except OSError:
        return None
    info = read_image_as(layer.format, head)
    size = info.capacity or 0 if layer.format == "qcow2" else status.st_size
    if (status.st_dev, status.st_ino) not in opened:
        return None
    if info.corruption or info.data_file is not None or size <= 0 or size % SECTOR:
        return None
    shape = Shape(size)
    if layer.format == "qcow2":
        shape = Shape(size, info.cluster_size or CLUSTER, info.extended_l2)
    return Top(shape, info.bitmaps)
