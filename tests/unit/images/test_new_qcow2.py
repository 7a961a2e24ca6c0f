"""Images that are laid out here: QEMU's own tools find in them what they find in their own."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from supervisor.images.new_qcow2 import CLUSTER, CLUSTERS, NewQcow2, NotSupported, Shape, new_qcow2

MIB: Final = 1 << 20
GIB: Final = 1 << 30
SIZES: Final = (512, MIB, 512 * MIB, 512 * MIB + 512, 1 << 40, (4 << 40) + 512, 63 << 40)
NAMES: Final = ("", "base.img", "/images/über base'&.qcow2", "b" * 200)


def write(path: Path, image: NewQcow2) -> None:
    with path.open("wb") as file:
        file.truncate(image.length)
        for offset, data in image.blocks:
            file.seek(offset)
            file.write(data)


def qemu_img(*words: str) -> Any:
    done = subprocess.run(["qemu-img", *words], check=True, capture_output=True, timeout=60)
    return json.loads(done.stdout or b"{}")


def described(path: Path) -> dict[str, Any]:
    info: dict[str, Any] = qemu_img("info", "-U", "--output=json", str(path))
    for volatile in ("filename", "actual-size", "full-backing-filename", "children"):
        info.pop(volatile, None)
    return info


def assert_like_qemus(tmp_path: Path, shape: Shape, backing: str, backing_format: str) -> None:
    ours, theirs = tmp_path / "ours.qcow2", tmp_path / "theirs.qcow2"
    write(ours, new_qcow2(shape, backing, backing_format))
    options = f"cluster_size={shape.cluster},extended_l2={'on' if shape.extended_l2 else 'off'}"
    below = ["-u", "-b", backing, "-F", backing_format] if backing else []
    subprocess.run(
        [
            *("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, *below),
            *(str(theirs), str(shape.size)),
        ],
        check=True,
        timeout=60,
    )
    assert described(ours) == described(theirs)
    if backing:  # the check opens what is below
        subprocess.run(
            ["qemu-img", "rebase", "-u", "-f", "qcow2", "-b", "", str(ours)], check=True, timeout=60
        )
    checked = qemu_img("check", "--output=json", str(ours))
    assert checked["check-errors"] == 0
    assert not checked.get("leaks")
    assert not checked.get("corruptions")


@pytest.mark.parametrize("size", SIZES)
def test_every_size_of_disk_is_as_qemu_img_makes_it(tmp_path: Path, size: int) -> None:
    assert_like_qemus(tmp_path, Shape(size), "", "")


@pytest.mark.parametrize("bits", CLUSTERS)
def test_every_size_of_clusters_is_as_qemu_img_makes_it(tmp_path: Path, bits: int) -> None:
    # Of the smallest clusters, one of refcounts is enough for a small disk alone.
    assert_like_qemus(tmp_path, Shape(2 * MIB, 1 << bits), "base", "raw")
    assert_like_qemus(tmp_path, Shape(GIB if bits > 11 else 4 * MIB, 1 << bits), "", "")


@pytest.mark.parametrize("bits", [14, 16, 17, 21])
def test_clusters_with_parts_are_as_qemu_img_makes_them(tmp_path: Path, bits: int) -> None:
    assert_like_qemus(tmp_path, Shape(GIB, 1 << bits, extended_l2=True), "base", "qcow2")


@pytest.mark.parametrize(
    "shape",
    [
        Shape(MIB, 1000),
        Shape(MIB, 1 << 8),
        Shape(MIB, 1 << 22),
        Shape(MIB, 1 << 13, extended_l2=True),
        Shape(GIB, 512),
    ],
)
def test_other_shapes_are_left_to_qemu(shape: Shape) -> None:
    with pytest.raises(NotSupported):
        new_qcow2(shape)


def test_a_header_that_a_cluster_has_no_room_for_is_left_to_qemu() -> None:
    with pytest.raises(NotSupported):
        new_qcow2(Shape(MIB, 512), "b" * 500, "raw")


@pytest.mark.parametrize("name", NAMES[1:])
def test_backing_names_are_as_qemu_img_writes_them(tmp_path: Path, name: str) -> None:
    assert_like_qemus(tmp_path, Shape(64 * MIB), name, "raw")


def test_random_images_are_as_qemu_img_makes_them(tmp_path: Path) -> None:
    rng = random.Random(15)
    for _ in range(8):
        size = rng.randrange(1, 1 << rng.randrange(1, 37)) * 512
        form = rng.choice(("raw", "qcow2", "qed", "vmdk"))
        assert_like_qemus(tmp_path, Shape(size), rng.choice(NAMES), form)


def test_a_header_is_the_one_that_qemu_writes_but_for_the_names_of_features(tmp_path: Path) -> None:
    path = tmp_path / "theirs.qcow2"
    words = ["create", "-q", "-f", "qcow2", "-u", "-b", "base", "-F", "raw", str(path), "1G"]
    subprocess.run(["qemu-img", *words], check=True, timeout=60)
    theirs = path.read_bytes()
    (_, header), (_, table), (_, block) = new_qcow2(Shape(1 << 30), "base", "raw").blocks
    # The backing name's offset, in bytes 8 to 16, depends on the extensions before it.
    assert header[:8] + header[16:120] == theirs[:8] + theirs[16:120]
    assert theirs[CLUSTER : 2 * CLUSTER].rstrip(b"\0") == table.rstrip(b"\0")
    assert theirs[2 * CLUSTER : 3 * CLUSTER].rstrip(b"\0") == block
    assert not theirs[3 * CLUSTER :].strip(b"\0")


@pytest.mark.parametrize(
    ("size", "name"), [(0, ""), (513, ""), (-512, ""), (1 << 62, ""), (512, "x" * 1024)]
)
def test_what_an_image_cannot_have_is_refused(size: int, name: str) -> None:
    with pytest.raises(NotSupported):
        new_qcow2(Shape(size), name, "raw")


def test_an_image_takes_writes_and_keeps_them(tmp_path: Path) -> None:
    path = tmp_path / "image.qcow2"
    write(path, new_qcow2(Shape(3 << 40)))
    commands = ["-c", "write -P 7 0 64k", "-c", "write -P 9 2T 1M", "-c", "write -P 8 3071G 64k"]
    subprocess.run(["qemu-io", "-f", "qcow2", *commands, str(path)], check=True, timeout=60)
    commands = ["-c", "read -P 7 0 64k", "-c", "read -P 9 2T 1M", "-c", "read -P 0 1T 64k"]
    subprocess.run(["qemu-io", "-f", "qcow2", *commands, str(path)], check=True, timeout=60)
    assert qemu_img("check", "--output=json", str(path))["check-errors"] == 0
