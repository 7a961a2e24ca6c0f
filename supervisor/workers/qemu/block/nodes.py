"""The graph of block nodes behind each disk: their names, their order, the filters above. Pure.

Owns: node numbers and names, and which drive of QEMU's replies is which disk.
May touch: values only; `argv.storage` has what each node is made of.
Source: libvirt 9.0, qemu_domain.c (qemuDomainPrepareStorageSourceBlockdev) for the names.

An image becomes two nodes: libvirt-N-storage reads the file, device or server, libvirt-N-format
the image format in it. N counts the images of the domain from the last disk to the first, and in
a disk from the top of its backing chain down. <iotune> has no node: libvirt 9.0 sets it on the
drive's block backend (`block_set_io_throttle`), where a new medium keeps it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from conf.domain.devices.backing_store import BackingStore
from conf.domain.devices.disk import Disk, is_empty
from conf.domain.devices.disk_chain import Layer, layers
from conf.domain.devices.source import Source

PREFIX: Final = "libvirt-"
PERIPHERALS: Final = "/machine/peripheral"  # QOM: the devices that have an id
NAMED: Final = re.compile(rf"\b{PREFIX}(\d+)-")
NODE_NAME: Final = re.compile(r"libvirt-(\d+)(?:-.*)?")


@dataclass(frozen=True, slots=True)
class ImageNodes:
    """One image of a backing chain and its two nodes."""

    source: Source
    format: str
    index: int
    read_only: bool
    metadata_cache: int | None = None  # bytes

    @property
    def storage_name(self) -> str:
        """The protocol node's name."""
        return f"{PREFIX}{self.index}-storage"

    @property
    def format_name(self) -> str:
        """The format node's name."""
        return f"{PREFIX}{self.index}-format"


@dataclass(frozen=True, slots=True)
class DiskNodes:
    """All nodes of what is in one drive."""

    images: tuple[ImageNodes, ...]  # from the top of the chain down; none in an empty drive
    terminated: bool  # the XML says that nothing is below the last image
    copy_on_read: str | None = None  # the name of the filter above the top image

    @property
    def top_name(self) -> str | None:
        """The node that the device reads and writes; None for an empty drive."""
        if not self.images:
            return None
        return self.copy_on_read or self.images[0].format_name

    def names(self) -> Iterator[str]:
        """List the node names in the order in which they are added: children first."""
        for image in reversed(self.images):
            yield image.storage_name
            yield image.format_name
        if self.copy_on_read is not None:
            yield self.copy_on_read


def number_disk(disk: Disk, first_index: int) -> DiskNodes:
    """Name the nodes of one disk.

    Args:
        disk: with its whole backing chain (`backing_chains`).
        first_index: the number of its top image; those below follow.
    """
    # vhost-user: the image is opened by another process, QEMU has a socket and no node.
    chain = disk.chain() if disk.type != "vhostuser" else []
    # QEMU's `-drive if=sd` makes its own nodes, so libvirt numbers none.
    step = 0 if disk.target.bus == "sd" else 1
    # Only the top image is written to; those below may be part of other disks' chains.
    images = tuple(
        ImageNodes(source, form, first_index + depth * step, depth > 0 or bool(disk.readonly), size)
        for depth, (source, form, size) in enumerate(chain)
    )
    copies = disk.driver is not None and disk.driver.copy_on_read and bool(images) and step == 1
    return DiskNodes(
        images=images,
        terminated=disk.chain_ends(),
        copy_on_read=f"{PREFIX}CoR-{disk.target.dev}" if copies else None,
    )


def number_found(disks: Sequence[Disk], last: int) -> None:
    """Record numbers for the images that were found below those that the XML names.

    libvirt reads the headers when every image of the XML has its number.

    Args:
        disks: of a domain that is started; the images of the XML have theirs.
        last: the highest number so far.
    """
    for disk in reversed(disks):
        if disk.target.bus == "sd" or disk.type == "vhostuser":
            continue
        for element in _indexed_elements(disk):
            if element.index is None and (disk.source is None or not is_empty(disk.source)):
                last += 1
                element.index = last


def live_nodes(disk: Disk) -> DiskNodes:
    """Name the nodes of a running guest's disk, by the numbers in its live XML.

    Overlays, commits and copies leave a chain whose numbers are in no order.
    """
    images = tuple(
        layer_nodes(layer, read_only=depth > 0 or bool(disk.readonly))
        for depth, layer in enumerate(layers(disk) if disk.type != "vhostuser" else [])
    )
    copies = disk.driver is not None and disk.driver.copy_on_read and bool(images)
    return DiskNodes(
        images=images,
        terminated=disk.chain_ends(),
        copy_on_read=f"{PREFIX}CoR-{disk.target.dev}" if copies else None,
    )


def layer_nodes(layer: Layer, *, read_only: bool) -> ImageNodes:
    """Name the nodes of one image of a running guest."""
    cache = layer.cache.amount if layer.cache is not None else None
    return ImageNodes(layer.source, layer.format, layer.index or 0, read_only, cache)


def number_disks(disks: Sequence[Disk]) -> tuple[list[DiskNodes], int]:
    """Name the nodes of all disks of a domain that is started.

    Those whose numbers are in the XML keep them, so that who asks again gets the same names.

    Returns:
        The nodes in the order of the disks, and the highest number that an image has.
    """
    numbered: list[DiskNodes] = []
    last = 0
    for disk in reversed(disks):
        is_sd = disk.target.bus == "sd"
        recorded = live_nodes(disk)
        if recorded.images and all(image.index for image in recorded.images):
            numbered.append(recorded)
            last = max(last, *(image.index for image in recorded.images))
            continue
        nodes = number_disk(disk, last if is_sd else last + 1)
        numbered.append(nodes)
        if not is_sd:
            last += max(len(nodes.images), 1)  # libvirt spends a number on an empty drive, too
    numbered.reverse()
    return numbered, last


def free_index(node_names: Iterable[str]) -> int:
    """Return the number above all that nodes of these names have (`query-named-block-nodes`)."""
    numbers = (NODE_NAME.fullmatch(name) for name in node_names)
    return max((int(match[1]) for match in numbers if match), default=0) + 1


def highest_index(arguments: Iterable[str]) -> int:
    """Return the highest number that a command line gives a node; 0: none has one."""
    numbers = (int(match[1]) for text in arguments for match in NAMED.finditer(text))
    return max(numbers, default=0)


def record_indexes(disk: Disk, nodes: DiskNodes) -> None:
    """Write the numbers into the live XML: <source index=>, <backingStore index=>."""
    if disk.target.bus == "sd":
        return
    for element, image in zip(_indexed_elements(disk), nodes.images, strict=False):
        element.index = image.index


def _indexed_elements(disk: Disk) -> Iterator[Source | BackingStore]:
    """List the elements with an index=, from the top of the chain down."""
    if disk.source is not None:
        yield disk.source
    store = disk.backing_store
    while store is not None and store.type is not None:
        yield store
        store = store.backing_store
    if disk.mirror is not None and disk.mirror.source is not None:
        yield disk.mirror.source


def find_indexed(disk: Disk, index: int) -> Source | BackingStore | None:
    """Find the image of a disk's chain that has the number."""
    return next((item for item in _indexed_elements(disk) if item.index == index), None)


def image_of_node(disks: Iterable[Disk], node_name: str) -> tuple[Disk, int] | None:
    """Find the disk of the live XML, and the number of its image, that a node belongs to."""
    match = NODE_NAME.fullmatch(node_name)
    for disk in disks:
        if match and find_indexed(disk, int(match[1])) is not None:
            return disk, int(match[1])
    return None


def backup_filter(target: str) -> str:
    """Name the filter that a backup puts above a disk: QEMU's errors name it, not the disk."""
    return f"{PREFIX}backup-{target}"


def disk_of_node(disks: Iterable[Disk], node_name: str) -> Disk | None:
    """Find the disk of the live XML that a node belongs to."""
    match = NODE_NAME.fullmatch(node_name)
    for disk in disks:
        if node_name in (f"{PREFIX}CoR-{disk.target.dev}", backup_filter(disk.target.dev)):
            return disk
        if match and any(item.index == int(match[1]) for item in _indexed_elements(disk)):
            return disk
    return None


def drive_qdev(disk: Disk) -> str:
    """Return the id or QOM path by which QEMU's block commands know the drive.

    A virtio disk's block backend belongs to the virtio device behind the PCI proxy, a USB disk's
    to the SCSI disk that usb-storage makes; for the others the device's own id is enough.
    """
    alias = disk.alias or ""
    match disk.target.bus:
        case "virtio":
            return f"{PERIPHERALS}/{alias}/virtio-backend"
        case "usb":
            return f"{PERIPHERALS}/{alias}/{alias}.0/legacy[0]"
    return alias


def is_drive_of(disk: Disk, qdev: str, device: str) -> bool:
    """Return whether a drive of `query-block` or `query-blockstats` is the disk's.

    Args:
        disk: with its alias.
        qdev: the reply's "qdev": an id or a QOM path that contains it.
        device: the reply's "device": the name of a -drive (drive-ALIAS).
    """
    alias = disk.alias
    return bool(alias) and (alias in qdev.split("/") or device == f"drive-{alias}")


def image_path(disk: Disk, index: int) -> str | None:
    """Return the path of the image with the number; None: it is on a server."""
    for element, (source, _, _) in zip(_indexed_elements(disk), disk.chain(), strict=False):
        if element.index == index:
            return source.file or source.dev
    return None


def disk_path(disk: Disk) -> str:
    """Return the path of the disk's top image, or its name on a server; "" for an empty drive."""
    chain = disk.chain()
    if not chain:
        return ""
    source, _, _ = chain[0]
    return source.file or source.dev or source.dir or source.name or ""
