"""Which images' bitmaps follow the data that a block job moves, and how images are opened anew."""

from __future__ import annotations

import pytest

from conf.domain.device_xml import parse_device
from conf.domain.devices.disk import Disk
from supervisor.objects.block_job import BlockJobKind, BlockJobRecord
from supervisor.workers.qemu.block.job_bitmaps import moved_data
from supervisor.workers.qemu.block.reopening import node_place, reopen_arguments

DISK = """<disk type='file' device='disk'><driver name='qemu' type='qcow2' discard='unmap'/>
<source file='/i/c' index='3'/>
<backingStore type='file' index='5'><format type='qcow2'/><source file='/i/b'/>
<backingStore type='file' index='1'><format type='raw'/><source file='/i/a'/><backingStore/>
</backingStore></backingStore>{mirror}<target dev='vda' bus='virtio'/></disk>"""
MIRROR = """<mirror type='file' job='copy'><format type='qcow2'/>
<source file='/i/m' index='9'/></mirror>"""


def disk(mirror: str = "") -> Disk:
    """A disk with three images: 3 on 5 on 1."""
    _, device = parse_device(DISK.format(mirror=mirror))
    assert isinstance(device, Disk)
    return device


def moved(kind: BlockJobKind, *, mirror: str = "", **fields: object) -> object:
    """The numbers of the sources, of the target, and whether that is opened for reading only."""
    record = BlockJobRecord(id="j", kind=kind, target="vda", **fields)  # type: ignore[arg-type]
    found = moved_data(disk(mirror), record)
    if found is None:
        return None
    return "".join(str(one.index) for one in found.sources), found.target.index, found.is_read_only


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        (BlockJobKind.PULL, {}, ("351", 3, False)),
        (BlockJobKind.PULL, {"base": 1}, ("35", 3, False)),
        (BlockJobKind.PULL, {"base": 8}, None),
        (BlockJobKind.COMMIT, {"top": 5, "base": 1}, ("5", 1, True)),
        (BlockJobKind.ACTIVE_COMMIT, {"top": 3, "base": 1}, ("35", 1, False)),
        (BlockJobKind.COMMIT, {"top": 8, "base": 1}, None),
        (BlockJobKind.COPY, {"mirror": MIRROR}, ("351", 9, False)),
        (BlockJobKind.COPY, {"mirror": MIRROR, "shallow": True}, ("3", 9, False)),
        (BlockJobKind.COPY, {}, None),
    ],
)
def test_a_job_moves_the_data_of_some_images_to_one(
    kind: BlockJobKind, fields: dict[str, object], expected: object
) -> None:
    assert moved(kind, **fields) == expected  # type: ignore[arg-type]


def test_an_image_is_opened_anew_with_all_that_it_had() -> None:
    assert node_place(disk(), "libvirt-5-format") == 1
    assert reopen_arguments(disk(), 1, read_only=False) == {
        "options": [
            {
                "node-name": "libvirt-5-format",
                "read-only": False,
                "discard": "unmap",
                "driver": "qcow2",
                "file": "libvirt-5-storage",
                "backing": "libvirt-1-format",
            }
        ]
    }
