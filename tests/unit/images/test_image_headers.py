"""Headers of images: those that qemu-img writes are read, hostile ones do no harm."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.images import HEADER_BYTES, ImageInfo, read_image, read_image_as
from supervisor.images.header import CHAINED, MAGICS
from supervisor.images.image import MAX_NAME, MAX_SIZE

MIB = 1024 * 1024
needs_qemu_img = pytest.mark.skipif(
    shutil.which("qemu-img") is None, reason="qemu-img is not installed"
)


def create(path: Path, form: str, *options: str, size: str = "8M") -> ImageInfo:
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", form, *options, path.name, size],
        check=True, cwd=path.parent, capture_output=True, timeout=20,
    )  # fmt: skip
    return read_image(path.read_bytes()[:HEADER_BYTES])


@needs_qemu_img
@pytest.mark.parametrize("form", ["qcow", "qcow2", "qed", "vmdk", "vdi"])
def test_a_new_image_is_recognized_with_its_size(form: str, tmp_path: Path) -> None:
    facts = create(tmp_path / "image", form)
    assert (facts.format, facts.capacity, facts.corruption) == (form, 8 * MIB, "")
    assert facts.backing_file is None


@needs_qemu_img
def test_formats_with_other_names_or_rounded_sizes_are_recognized(tmp_path: Path) -> None:
    vpc = create(tmp_path / "vpc", "vpc")
    assert vpc.format == "vpc"
    assert vpc.size_for_guest(0) >= 8 * MIB  # rounded up to cylinders
    ploop = create(tmp_path / "ploop", "parallels")
    assert (ploop.format, ploop.capacity) == ("ploop", 8 * MIB)
    vhdx = create(tmp_path / "vhdx", "vhdx")
    assert (vhdx.format, vhdx.format_name) == ("vhdx", "raw")
    raw = create(tmp_path / "raw", "raw")
    assert (raw.format, raw.size_for_guest(8 * MIB)) == ("raw", 8 * MIB)


@needs_qemu_img
def test_a_qcow2_tells_its_features_and_what_is_below(tmp_path: Path) -> None:
    create(tmp_path / "base.raw", "raw")
    options = "extended_l2=on,lazy_refcounts=on,cluster_size=128k"
    facts = create(tmp_path / "top", "qcow2", "-o", options, "-b", "base.raw", "-F", "raw")
    assert (facts.compat, facts.lazy_refcounts, facts.extended_l2) == ("1.1", True, True)
    assert facts.cluster_size == 128 * 1024
    assert (facts.backing_file, facts.backing_format) == ("base.raw", "raw")
    old = create(tmp_path / "old", "qcow2", "-o", "compat=0.10")
    assert (old.compat, old.lazy_refcounts, old.extended_l2) == ("0.10", False, False)


@needs_qemu_img
def test_contents_in_another_file_are_told(tmp_path: Path) -> None:
    facts = create(tmp_path / "top", "qcow2", "-o", "data_file=contents.raw")
    assert facts.data_file == "contents.raw"


@needs_qemu_img
def test_the_images_below_a_vmdk_and_a_qed_are_told(tmp_path: Path) -> None:
    create(tmp_path / "base.vmdk", "vmdk")
    vmdk = create(tmp_path / "top.vmdk", "vmdk", "-b", "base.vmdk", "-F", "vmdk")
    assert (vmdk.backing_file, vmdk.backing_format) == ("base.vmdk", "vmdk")
    create(tmp_path / "base.raw", "raw")
    qed = create(tmp_path / "top.qed", "qed", "-b", "base.raw", "-F", "raw")
    assert (qed.backing_file, qed.backing_format) == ("base.raw", "raw")


def test_encryption_is_told_with_where_the_contents_begin() -> None:
    header = b"LUKS\xba\xbe" + struct.pack(">H", 1).ljust(98, b"\0") + struct.pack(">I", 4040)
    luks = read_image(header)
    assert (luks.format, luks.encryption, luks.payload_offset) == ("raw", "luks", 4040 * 512)
    assert luks.size_for_guest(MIB + 4040 * 512) == MIB
    assert luks.size_for_guest(5) == 0
    assert read_image(qcow2(crypt=2)).encryption == "luks"
    assert read_image(qcow2(crypt=1)).encryption == "aes"


def test_marks_of_formats_that_qemu_does_not_write_are_known() -> None:
    iso = bytearray(HEADER_BYTES)
    iso[32769:32774] = b"CD001"
    assert read_image(bytes(iso)).format == "iso"
    bochs = b"Bochs Virtual HD Image".ljust(64, b"\0") + struct.pack(
        "<IIIIIIQ", 0x20000, 512, 1, 1, 1, 0, MIB
    )
    assert read_image(bochs) == ImageInfo(format="bochs", capacity=MIB)
    old_bochs = b"Bochs Virtual HD Image".ljust(64, b"\0") + struct.pack(
        "<IIIIIQ", 0x10000, 512, 1, 1, 1, MIB
    )
    assert read_image(old_bochs).capacity == MIB
    cloop = b"#!/bin/sh\n#V2.0 Format\n".ljust(128, b"\0") + struct.pack(">II", 4096, 256)
    assert read_image(cloop).capacity == MIB
    cow = (
        b"OOOM"
        + struct.pack(">I", 2)
        + b"below.img".ljust(1024, b"\0")
        + struct.pack(">IQ", 0, MIB)
    )
    assert read_image(cow).backing_file == "below.img"
    trailer = b"koly".ljust(492, b"\0") + struct.pack(">Q", MIB // 512) + bytes(12)
    assert read_image(b"anything", trailer) == ImageInfo(format="dmg", capacity=MIB)
    luks2 = b"LUKS\xba\xbe" + struct.pack(">H", 2)
    assert read_image(luks2).encryption == "luks2"


def qcow2(**fields: int) -> bytes:
    """A qcow2 header of version 3, with a backing file's name behind it."""
    said = {
        "backing": 200,
        "length": 4,
        "bits": 16,
        "size": MIB,
        "crypt": 0,
        "header": 104,
    } | fields
    return struct.pack(
        ">4sIQIIQIIQQIIQQQQII",
        b"QFI\xfb", 3, said["backing"], said["length"], said["bits"], said["size"], said["crypt"],
        0, 0, 0, 0, 0, 0, said.get("incompatible", 0), 0, 0, 4, said["header"],
    ).ljust(200, b"\0") + b"base"  # fmt: skip


def test_a_damaged_header_is_told_as_damaged_and_nothing_else_of_it() -> None:
    assert read_image(qcow2()).backing_file == "base"
    for broken in (
        qcow2(backing=1 << 40),
        qcow2(length=MAX_NAME + 1),
        qcow2(length=100),
        qcow2(bits=40),
        qcow2(size=MAX_SIZE + 1),
        qcow2(crypt=7),
        qcow2(header=50),
        qcow2()[:60],
        b"QFI\xfb" + struct.pack(">I", 9),
        b"KDMV" + struct.pack("<I", 77),
    ):
        facts = read_image(broken)
        assert facts.corruption
        assert (facts.capacity, facts.backing_file) == (None, None)


def test_a_format_that_somebody_said_is_not_guessed_again() -> None:
    assert read_image_as("raw", qcow2()) == ImageInfo(format="raw")
    assert read_image_as("qcow2", b"no such header").corruption
    assert read_image_as("qcow2", qcow2()).backing_file == "base"
    assert read_image_as("vdi", b"") == ImageInfo(format="vdi")


MARKED = st.sampled_from(MAGICS).flatmap(
    lambda mark: st.binary(max_size=400).map(lambda rest: bytes(mark.offset) + mark.magic + rest)
)


@given(st.one_of(st.binary(max_size=600), MARKED), st.binary(max_size=600))
def test_hostile_bytes_become_facts_that_can_be_trusted_to_be_small(
    head: bytes, tail: bytes
) -> None:
    facts = read_image(head, tail)
    assert facts.capacity is None or 0 <= facts.capacity <= MAX_SIZE
    assert len(facts.backing_file or "") <= MAX_NAME
    assert len(facts.data_file or "") <= MAX_NAME
    for form in (*CHAINED, "raw", "iso"):
        assert read_image_as(form, head).format == form


def test_image_of_no_size_is_as_large_as_its_file() -> None:
    assert ImageInfo(format="qcow2", capacity=0).size_for_guest(196608) == 196608
