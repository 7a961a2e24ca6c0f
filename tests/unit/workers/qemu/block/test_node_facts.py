"""What a snapshot reads in images, and what it has QEMU asked for instead."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import msgspec
import pytest

from conf.domain.device_xml import parse_device
from conf.domain.devices.disk import Disk
from conf.domain.devices.disk_chain import Layer, layers
from conf.domain.devices.source import Source
from supervisor.images.new_qcow2 import Shape
from supervisor.runtime.procfs import OpenFiles
from supervisor.workers.qemu.block.image_nodes import NamedNode, shape_of
from supervisor.workers.qemu.block.node_facts import Top, read_top
from supervisor.workers.qemu.block.nodes import ImageNodes, highest_index

MIB = 1 << 20


def read(layer: Layer) -> Top | None:
    """Read an image as if QEMU had it open."""
    path = Path(layer.path or "")
    found = [path.stat()] if path.exists() else []
    return read_top(layer, {(status.st_dev, status.st_ino) for status in found})


def qemu_img(*words: str | Path) -> None:
    subprocess.run(["qemu-img", *words], check=True, capture_output=True, timeout=60)


def top(path: Path, form: str, source: str = "") -> Layer:
    _, disk = parse_device(
        f"<disk type='file'><driver type='{form}'/><source file='{path}'>{source}</source>"
        "<target dev='vda'/></disk>"
    )
    assert isinstance(disk, Disk)
    return layers(disk)[0]


def test_the_size_of_a_qcow2_image_is_in_its_header(tmp_path: Path) -> None:
    path = tmp_path / "image"
    qemu_img("create", "-f", "qcow2", path, "7M")
    assert read(top(path, "qcow2")) == Top(Shape(7 * MIB), has_bitmaps=False)
    qemu_img("resize", path, "9M")
    assert read(top(path, "qcow2")) == Top(Shape(9 * MIB), has_bitmaps=False)


def test_the_shape_of_a_qcow2_images_clusters_is_in_its_header(tmp_path: Path) -> None:
    path = tmp_path / "image"
    qemu_img("create", "-f", "qcow2", "-o", "cluster_size=128k,extended_l2=on", path, "7M")
    assert read(top(path, "qcow2")) == Top(
        Shape(7 * MIB, 128 * 1024, extended_l2=True), has_bitmaps=False
    )


def test_qemu_says_the_shape_of_an_images_clusters() -> None:
    reply = (
        b'{"node-name": "n", "image": {"virtual-size": 7, "cluster-size": 512, "format-specific": '
        b'{"type": "qcow2", "data": {"compat": "1.1", "extended-l2": true}}}}'
    )
    found = {"n-format": msgspec.json.decode(reply, type=NamedNode)}
    node = found["n-format"].image
    assert node.format_specific.data.extended_l2
    for form, shape in (("qcow2", Shape(7, 512, extended_l2=True)), ("qed", Shape(7))):
        nodes = ImageNodes(Source(file="/a"), form, 1, False, None)
        assert shape_of({nodes.format_name: found["n-format"]}, nodes) == shape


def test_stored_bitmaps_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "image"
    qemu_img("create", "-f", "qcow2", path, "1M")
    qemu_img("bitmap", "--add", path, "b")
    assert read(top(path, "qcow2")) == Top(Shape(MIB), has_bitmaps=True)
    qemu_img("bitmap", "--remove", path, "b")
    assert read(top(path, "qcow2")) == Top(Shape(MIB), has_bitmaps=False)


def test_what_a_guest_writes_to_a_raw_disk_is_no_header(tmp_path: Path) -> None:
    path = tmp_path / "image"
    qemu_img("create", "-f", "qcow2", path, "5T")
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + bytes(-size % 512))
    assert read(top(path, "raw")) == Top(Shape(path.stat().st_size), has_bitmaps=False)


@pytest.mark.parametrize(
    ("form", "content", "source"),
    [
        ("qcow2", b"no header", ""),
        ("qcow2", b"", ""),
        ("raw", b"not a whole sector", ""),
        ("raw", b"", ""),
        ("qed", bytes(512), ""),
        ("raw", bytes(512), "<slices><slice type='storage' offset='0' size='512'/></slices>"),
        ("qcow2", None, ""),
    ],
)
def test_qemu_is_asked_where_a_header_does_not_say_it(
    tmp_path: Path, form: str, content: bytes | None, source: str
) -> None:
    path = tmp_path / "image"
    if content is not None:
        path.write_bytes(content)
    assert read(top(path, form, source)) is None


def test_qemu_is_asked_about_external_data_files(tmp_path: Path) -> None:
    path = tmp_path / "image"
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={tmp_path}/data", path, "1M")
    assert read(top(path, "qcow2")) is None


def test_qemu_is_asked_where_another_file_is_at_the_path(tmp_path: Path) -> None:
    """An administrator has moved the image away, and the guest goes on with it."""
    path = tmp_path / "image"
    qemu_img("create", "-f", "qcow2", path, "7M")
    with path.open("rb"):
        path.rename(tmp_path / "moved")
        qemu_img("create", "-f", "qcow2", path, "3M")
        assert read_top(top(path, "qcow2"), OpenFiles(os.getpid())) is None
        path.unlink()
        (tmp_path / "moved").rename(path)
        seen = read_top(top(path, "qcow2"), OpenFiles(os.getpid()))
        assert seen == Top(Shape(7 * MIB), has_bitmaps=False)


def test_a_command_line_has_the_numbers_of_its_nodes() -> None:
    argv = ["-blockdev", '{"node-name":"libvirt-12-format","file":"libvirt-3-storage"}', "libvirt"]
    assert highest_index(argv) == 12
    assert highest_index(["-device", "x"]) == 0
