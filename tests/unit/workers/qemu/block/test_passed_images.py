"""Images that are open files: whose groups are required, and how QEMU is told of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from conf.domain import parse_domain
from conf.domain.devices.disk import Disk
from conf.errors import ConfError
from ipc import Descriptor
from rpc.errors import ErrorCode, VirError
from supervisor.workers.qemu.argv.disk import node_options
from supervisor.workers.qemu.argv.launch_inputs import Context, LaunchInputs, PassedImage
from supervisor.workers.qemu.block import passed_images
from supervisor.workers.qemu.block.nodes import number_disks
from supervisor.workers.qemu.start.files import disk_files
from tests.unit.hostd.test_emulator_facts import FACTS

DISKS = """<disk type='file'><driver name='qemu' type='qcow2'/><source file='/a' fdgroup='a'/>
<backingStore type='file'><format type='raw'/><source file='/b' fdgroup='b'/><backingStore/>
</backingStore><target dev='vda' bus='virtio'/></disk>
<disk type='file'><driver name='qemu' type='raw'/><source file='/c' fdgroup='c'/>
<target dev='vdb' bus='virtio'/></disk>"""


@pytest.fixture
def groups(tmp_path: Path) -> Iterator[dict[str, list[Descriptor]]]:
    """A group for reading and writing, one for reading, one of both kinds."""
    file = tmp_path / "image"
    file.write_bytes(b"")
    kinds = {"a": (os.O_RDWR,), "b": (os.O_RDONLY,), "c": (os.O_RDWR, os.O_RDONLY)}
    opened = {
        name: [Descriptor(os.open(file, mode)) for mode in modes] for name, modes in kinds.items()
    }
    yield opened
    passed_images.close_groups(opened)


def disks() -> list[Disk]:
    return parse_domain(
        "<domain type='qemu'><name>web</name><memory>1024</memory><os><type>hvm</type></os>"
        f"<devices>{DISKS}</devices></domain>"
    ).devices.disks


def options(disk: int, images: dict[str, PassedImage]) -> list[tuple[str, ...]]:
    numbered, _ = number_disks(chosen := disks())
    inputs = LaunchInputs(id=1, domain_dir="/d", channel_dir="/c", memory_dir="/m", disk_fds=images)
    context = Context(
        parse_domain(
            "<domain type='qemu'><name>web</name><memory>1</memory><os><type>hvm</type></os>"
            "</domain>"
        ),
        FACTS,
        inputs,
    )
    return list(node_options(context, chosen[disk], numbered[disk]))


def test_the_last_disk_without_its_group_is_named_as_by_libvirt(
    groups: dict[str, list[Descriptor]],
) -> None:
    passed_images.require_groups(disks(), groups)
    for missing, named in ((("a", "b", "c"), "c"), (("a", "b"), "a"), (("b",), "b")):
        some = {name: group for name, group in groups.items() if name not in missing}
        with pytest.raises(VirError, match=f"group '{named}' was not associated") as refused:
            passed_images.require_groups(disks(), some)
        assert refused.value.code is ErrorCode.INVALID_ARG


def test_qemu_gets_a_set_for_each_image_and_how_it_is_open(
    groups: dict[str, list[Descriptor]],
) -> None:
    numbered, _ = number_disks(disks())
    images = passed_images.inherited_images(numbered, groups)
    (top, below, both) = (groups[name] for name in ("a", "b", "c"))
    below_set, below_node, _, top_set, top_node, _ = options(0, images)
    assert top_set[1] == f"set={top[0].fileno()},fd={top[0].fileno()},opaque=libvirt-2-storage0"
    assert f'"filename":"/dev/fdset/{top[0].fileno()}"' in top_node[1]
    assert '"read-only":false' in top_node[1]
    assert "auto-read-only" not in top_node[1]
    assert "opaque=libvirt-3-storage0" in below_set[1]
    assert '"read-only":true' in below_node[1]
    writing, reading, node, _ = options(1, images)
    number = both[0].fileno()
    assert writing[1] == f"set={number},fd={number},opaque=libvirt-1-storage0"
    assert reading[1] == f"set={number},fd={both[1].fileno()},opaque=libvirt-1-storage1"
    assert '"auto-read-only":true' in node[1]
    assert below[0].fileno() not in (number, top[0].fileno())


def test_an_image_is_read_by_its_descriptor_and_its_path_is_left_alone(
    groups: dict[str, list[Descriptor]],
) -> None:
    paths = passed_images.open_paths(disks(), groups)
    assert paths["/b"] == f"/proc/self/fd/{groups['b'][0].fileno()}"
    assert [file for disk in disks() for file in disk_files(disk)] == []


def test_an_image_that_was_not_passed_is_never_opened_by_its_path() -> None:
    with pytest.raises(ConfError, match="group 'c' was not associated"):
        options(1, {})
