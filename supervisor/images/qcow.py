"""Header parsers of qcow, qcow2 (versions 2 and 3) and QED.

Owns: their layouts. Pure.
Source: QEMU's docs/interop/qcow2.txt and qed_spec.txt.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from supervisor.images.image import CorruptImage, ImageInfo, name, number, size

QCOW_MAGIC: Final = b"QFI\xfb"
QED_MAGIC: Final = b"QED\0"
V2_HEADER: Final = 72
V3_HEADER: Final = 104
MAX_EXTENSIONS: Final = 64
_END, _BACKING_FORMAT, _DATA_FILE = 0, 0xE2792ACA, 0x44415441
_INCOMPATIBLE_DATA_FILE, _INCOMPATIBLE_EXTENDED_L2 = 1 << 2, 1 << 4
_COMPATIBLE_LAZY: Final = 1 << 0
_AUTOCLEAR_BITMAPS: Final = 1 << 0
_ENCRYPTION: Final = {0: "", 1: "aes", 2: "luks"}
_QED_BACKING, _QED_RAW = 1 << 0, 1 << 2


def read_qcow(data: bytes) -> ImageInfo:
    """Parse a qcow or qcow2 header.

    Raises:
        CorruptImage: QEMU would not open it.
    """
    version = number(data, 4, ">I")
    if version == 1:
        return _read_v1(data)
    if version in (2, 3):
        return _read_v2(data, version)
    raise CorruptImage(f"unknown qcow version {version}")


def _read_v1(data: bytes) -> ImageInfo:
    return ImageInfo(
        format="qcow",
        capacity=size(data, 24, ">Q"),
        cluster_size=_cluster(number(data, 32, ">B")),
        backing_file=_backing(data),
        encryption=_encryption(number(data, 36, ">I")),
    )


def _read_v2(data: bytes, version: int) -> ImageInfo:
    cluster = _cluster(number(data, 20, ">I"))
    incompatible = number(data, 72, ">Q") if version == 3 else 0
    compatible = number(data, 80, ">Q") if version == 3 else 0
    autoclear = number(data, 88, ">Q") if version == 3 else 0
    header = number(data, 100, ">I") if version == 3 else V2_HEADER
    if version == 3 and (header < V3_HEADER or header % 8):
        raise CorruptImage(f"invalid header length {header}")
    backing = _backing(data)
    end = number(data, 8, ">Q") or cluster
    extensions = dict(_extensions(data, header, min(end, cluster)))
    elsewhere = incompatible & _INCOMPATIBLE_DATA_FILE
    return ImageInfo(
        format="qcow2",
        capacity=size(data, 24, ">Q"),
        cluster_size=cluster,
        compat="1.1" if version == 3 else "0.10",
        lazy_refcounts=bool(compatible & _COMPATIBLE_LAZY),
        extended_l2=bool(incompatible & _INCOMPATIBLE_EXTENDED_L2),
        bitmaps=bool(autoclear & _AUTOCLEAR_BITMAPS),
        backing_file=backing,
        backing_format=extensions.get(_BACKING_FORMAT) if backing is not None else None,
        data_file=extensions.get(_DATA_FILE, "") if elsewhere else None,
        encryption=_encryption(number(data, 32, ">I")),
    )


def _extensions(data: bytes, start: int, end: int) -> Iterator[tuple[int, str]]:
    """Yield the header extensions with names: backing format and data file."""
    at = start
    for _ in range(MAX_EXTENSIONS):
        if at + 8 > end:
            return
        kind, length = number(data, at, ">I"), number(data, at + 4, ">I")
        if kind == _END:
            return
        if length > end - at - 8:
            raise CorruptImage(f"the header extension at byte {at} exceeds the header")
        if kind in (_BACKING_FORMAT, _DATA_FILE):
            yield kind, name(data, at + 8, length)
        at += 8 + (length + 7) // 8 * 8
    raise CorruptImage(f"more than {MAX_EXTENSIONS} header extensions")


def _backing(data: bytes) -> str | None:
    """Return the backing file; qcow and qcow2 have it at the same offset."""
    offset, length = number(data, 8, ">Q"), number(data, 16, ">I")
    if offset == 0 or length == 0:
        return None
    return name(data, offset, length)


def _cluster(bits: int) -> int:
    if not 9 <= bits <= 21:
        raise CorruptImage(f"invalid cluster size of 2^{bits} bytes")
    return 1 << bits


def _encryption(method: int) -> str:
    if method not in _ENCRYPTION:
        raise CorruptImage(f"unknown encryption method {method}")
    return _ENCRYPTION[method]


def read_qed(data: bytes) -> ImageInfo:
    """Parse a QED header.

    Raises:
        CorruptImage: QEMU would not open it.
    """
    cluster, features = number(data, 4, "<I"), number(data, 16, "<Q")
    backing = None
    if features & _QED_BACKING:
        backing = name(data, number(data, 56, "<I"), number(data, 60, "<I"))
    return ImageInfo(
        format="qed",
        capacity=size(data, 48, "<Q"),
        cluster_size=cluster,
        backing_file=backing,
        backing_format="raw" if backing is not None and features & _QED_RAW else None,
    )
