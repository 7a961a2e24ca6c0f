"""An empty qcow2 image, version 3, as a few blocks of bytes. Pure.

Owns: that layout, the one that `qemu-img create` gives an image with default options but for the
size of its clusters. May not touch: files.
Source: QEMU's docs/interop/qcow2.txt.

| cluster | has |
| --- | --- |
| 0 | the header, the extension with the backing format, the backing file's name |
| 1 | the refcount table: one entry, for the block in cluster 2 |
| 2 | the refcount block: 1 for each cluster up to the end |
| 3 … | the L1 table: zeros, since nothing is allocated |

The optional table of features' names is left out; QEMU adds it when it next writes the header.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

CLUSTER: Final = 1 << 16  # bytes, where nothing else is asked for
CLUSTERS: Final = range(9, 22)  # bits of their sizes
SMALLEST_EXTENDED: Final = 1 << 14  # bytes of a cluster whose parts are allocated each
SECTOR: Final = 512  # bytes
MAX_L1: Final = 32 << 20  # bytes: QEMU opens no image with a larger table
MAX_NAME: Final = 1023  # bytes of the backing file's name

_MAGIC: Final = 0x514649FB
_BACKING_FORMAT: Final = 0xE2792ACA
_END: Final = 0
#: Magic, version; offset and length of the backing name; cluster bits, size; encryption, entries
#: and offset of the L1 table; offset and clusters of the refcount table; number and offset of
#: snapshots; features: incompatible, compatible, autoclear; refcount order, header length,
#: compression type, padding.
_HEADER: Final = struct.Struct(">IIQIIQIIQQIIQQQQIIB7x")
_REFCOUNT_ORDER: Final = 4  # 1 << 4 bits
_REFCOUNT: Final = 2  # bytes, those bits
_L1_ENTRY: Final = 8  # bytes; of an L2 entry, too, unless it is an extended one
_EXTENDED_L2_ENTRY: Final = 16  # bytes
_EXTENDED_L2: Final = 1 << 4  # the incompatible feature
_FIRST_L1: Final = 3  # cluster


class NotSupported(ValueError):
    """No such image can be made here; QEMU may be able to."""


@dataclass(frozen=True, slots=True)
class NewQcow2:
    """The contents of an image: blocks at their offsets, zeros in between."""

    length: int  # bytes
    blocks: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """What a new image has of the one that it is put on, or is a copy of."""

    size: int  # bytes that the guest sees
    cluster: int = CLUSTER  # bytes; of a qcow2 image of which the other is one, too
    extended_l2: bool = False  # the same


def new_qcow2(shape: Shape, backing: str = "", backing_format: str = "") -> NewQcow2:
    """Lay out an empty image.

    Args:
        shape: its size is a multiple of 512.
        backing: the file below it, as the header names it; "": none.
        backing_format: that one's format.

    Raises:
        NotSupported: a size or a name that such an image cannot have.
    """
    size, cluster = shape.size, shape.cluster
    if size <= 0 or size % SECTOR:
        raise NotSupported(f"{size} bytes are no number of sectors")
    smallest = SMALLEST_EXTENDED if shape.extended_l2 else SECTOR
    if cluster < smallest or cluster not in [1 << bits for bits in CLUSTERS]:
        raise NotSupported(f"{cluster} bytes are no size of clusters")
    l2_entry = _EXTENDED_L2_ENTRY if shape.extended_l2 else _L1_ENTRY
    mapped = cluster // l2_entry * cluster  # bytes of the disk, by an entry of the L1 table
    entries = -(-size // mapped)
    clusters = _FIRST_L1 + -(-entries * _L1_ENTRY // cluster)
    if entries * _L1_ENTRY > MAX_L1 or clusters * _REFCOUNT > cluster:
        raise NotSupported(f"{size} bytes are too many for clusters of {cluster}")
    header = _header(shape, entries, backing, backing_format)
    if len(header) > cluster:
        raise NotSupported(f"the header does not fit into {cluster} bytes")
    return NewQcow2(
        length=clusters * cluster,
        blocks=(
            (0, header),
            (cluster, struct.pack(">Q", 2 * cluster)),
            (2 * cluster, b"\0\1" * clusters),
        ),
    )


def _header(shape: Shape, entries: int, backing: str, backing_format: str) -> bytes:
    cluster, features = shape.cluster, _EXTENDED_L2 if shape.extended_l2 else 0
    name = backing.encode(errors="surrogateescape")
    if len(name) > MAX_NAME or b"\0" in name:
        raise NotSupported("the backing file's name is too long")
    extensions = _extension(_BACKING_FORMAT, backing_format.encode()) if name else b""
    extensions += _extension(_END, b"")
    at = _HEADER.size + len(extensions) if name else 0
    fields = (
        *(_MAGIC, 3, at, len(name), cluster.bit_length() - 1, shape.size, 0, entries),
        *(_FIRST_L1 * cluster, cluster, 1, 0, 0, features, 0, 0, _REFCOUNT_ORDER),
        *(_HEADER.size, 0),
    )
    return _HEADER.pack(*fields) + extensions + name


def _extension(kind: int, data: bytes) -> bytes:
    return struct.pack(">II", kind, len(data)) + data + bytes(-len(data) % 8)
