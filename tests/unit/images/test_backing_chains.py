"""Chains of images: followed to their end, never guessed, never endless."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.errors import ConfError
from supervisor.images import HEADER_BYTES, OpenImage, resolve_chain
from supervisor.images.backing_file import parse_backing_name
from supervisor.images.chain import MAX_DEPTH


def image(below: str = "", form: str = "") -> bytes:
    """A qcow2 header with a backing file and perhaps its format."""
    extension = b""
    if form:
        padded = form.encode().ljust((len(form) + 7) // 8 * 8, b"\0")
        extension = struct.pack(">II", 0xE2792ACA, len(form)) + padded
    name = below.encode()
    offset = 104 + len(extension) + 8
    head = struct.pack(
        ">4sIQIIQIIQQIIQQQQII",
        b"QFI\xfb", 3, offset if name else 0, len(name), 16, 1 << 20, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 104,
    )  # fmt: skip
    return head + extension + bytes(8) + name


class Disk:
    """Images by their paths."""

    def __init__(self, **images: bytes) -> None:
        self.images = {f"/images/{name}": head for name, head in images.items()}
        self.opened: list[str] = []

    def __call__(self, path: str) -> OpenImage:
        self.opened.append(path)
        if path not in self.images:
            raise FileNotFoundError(path)
        return OpenImage(self.images[path], path)


def test_a_chain_is_followed_to_the_image_that_nothing_is_below() -> None:
    disk = Disk(top=image("middle", "qcow2"), middle=image("/images/base", "raw"), base=b"data")
    layers = resolve_chain("/images/top", "qcow2", disk)
    assert [(layer.path, layer.format) for layer in layers] == [
        ("/images/top", "qcow2"),
        ("/images/middle", "qcow2"),
        ("/images/base", "raw"),
    ]


def test_a_raw_image_ends_the_chain_whatever_a_guest_wrote_into_it() -> None:
    disk = Disk(top=image("/etc/shadow", "raw"))
    assert [layer.path for layer in resolve_chain("/images/top", "raw", disk)] == ["/images/top"]
    below = Disk(top=image("base", "raw"), base=image("/etc/shadow", "raw"))
    assert len(resolve_chain("/images/top", "qcow2", below)) == 2
    assert disk.opened + below.opened == ["/images/top", "/images/top", "/images/base"]


def test_a_format_that_no_header_names_leads_nowhere() -> None:
    plain = Disk(top=image("base"), base=b"contents")
    assert resolve_chain("/images/top", "qcow2", plain)[-1].format == "raw"
    disguised = Disk(top=image("base"), base=image("/etc/shadow", "raw"))
    with pytest.raises(ConfError, match="was not specified in the image metadata") as refused:
        resolve_chain("/images/top", "qcow2", disguised)
    assert refused.value.kind == "operation_invalid"
    assert "/etc/shadow" not in disguised.opened


def test_an_image_of_an_unnamed_format_that_leads_nowhere_is_what_it_looks_like() -> None:
    disk = Disk(top=image("base"), base=image())
    layers = resolve_chain("/images/top", "qcow2", disk)
    assert [layer.format for layer in layers] == ["qcow2", "qcow2"]
    with pytest.raises(ConfError, match="was not specified"):
        resolve_chain("/images/top", "qcow2", Disk(top=image("base"), base=image()[:60]))


def test_loops_are_refused() -> None:
    disk = Disk(top=image("base", "qcow2"), base=image("top", "qcow2"))
    with pytest.raises(ConfError, match="self-referential"):
        resolve_chain("/images/top", "qcow2", disk)


def test_chains_have_a_limit() -> None:
    def endless(path: str) -> OpenImage:
        number = int(path.rpartition("/")[2])
        return OpenImage(image(str(number + 1), "qcow2"), number)

    with pytest.raises(ConfError, match="nested too deep"):
        resolve_chain("/images/0", "qcow2", endless)
    names = {f"{n}": image(str(n + 1), "qcow2") for n in range(MAX_DEPTH - 1)}
    longest = Disk(**names, **{str(MAX_DEPTH - 1): image()})
    assert len(resolve_chain("/images/0", "qcow2", longest)) == MAX_DEPTH


def test_damage_missing_files_and_contents_elsewhere_are_refused() -> None:
    with pytest.raises(ConfError, match="corrupt header"):
        resolve_chain("/images/top", "qcow2", Disk(top=b"no header"))
    with pytest.raises(FileNotFoundError):
        resolve_chain("/images/top", "qcow2", Disk(top=image("gone", "raw")))


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")
def test_an_image_with_its_contents_in_another_file_is_refused(tmp_path: Path) -> None:
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", "data_file=c.raw", "top", "1M"]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, timeout=20)

    def read(path: str) -> OpenImage:
        return OpenImage(Path(path).read_bytes()[:HEADER_BYTES], path)

    with pytest.raises(ConfError, match="external data file") as refused:
        resolve_chain(str(tmp_path / "top"), "qcow2", read)
    assert refused.value.kind == "config_unsupported"


@pytest.mark.parametrize(
    ("name", "path", "remote", "form"),
    [
        ("base", "/images/base", "", None),
        ("../other/base", "/other/base", "", None),
        ("/a//b/../c", "/a/c", "", None),
        ("file:base", "/images/base", "", None),
        ("file:///base", "/base", "", None),
        ("./a:b", "/images/a:b", "", None),
        ("a:b", "/images/a:b", "", None),
        ("nbd://server/export", "", "nbd://server/export", None),
        ("nbd:unix:/socket", "", "nbd:unix:/socket", None),
        ('json:{"driver":"qcow2","file":{"driver":"file","filename":"/x"}}', "/x", "", "qcow2"),
        ('json:{"driver":"raw","file.driver":"file","file.filename":"x"}', "/images/x", "", "raw"),
        ('json:{"file":{"filename":"/x"}}', "/x", "", None),
    ],
)
def test_names_of_backing_files(name: str, path: str, remote: str, form: str | None) -> None:
    place = parse_backing_name(name, "/images/top")
    assert (place.path, place.remote, place.format) == (path, remote, form)


def test_an_nbd_server_in_json_is_remote_and_ends_the_chain() -> None:
    name = 'json:{"driver":"raw","file":{"driver":"nbd","host":"h"}}'
    layers = resolve_chain("/images/top", "qcow2", Disk(top=image(name)))
    assert (layers[-1].reference.remote, layers[-1].format) == (name, "raw")
    assert layers[-1].info is None


def test_a_remote_image_of_an_unnamed_format_is_refused() -> None:
    with pytest.raises(ConfError, match="was not specified in the image metadata") as refused:
        resolve_chain("/images/top", "qcow2", Disk(top=image("nbd://server/export")))
    assert refused.value.kind == "operation_invalid"
    named = resolve_chain("/images/top", "qcow2", Disk(top=image("nbd://server/export", "raw")))
    assert [layer.format for layer in named] == ["qcow2", "raw"]


def test_formats_that_nobody_knows_are_refused_and_old_names_for_raw_are_raw() -> None:
    with pytest.raises(ConfError, match="unknown format 'quorum'"):
        resolve_chain("/images/top", "qcow2", Disk(top=image("base", "quorum"), base=b""))
    old = Disk(top=image("base", "host_device"), base=image("/etc/shadow", "raw"))
    assert [layer.format for layer in resolve_chain("/images/top", "qcow2", old)] == [
        "qcow2",
        "raw",
    ]


@pytest.mark.parametrize(
    "name",
    ["json:", "json:{}", "json:[1]", 'json:{"file":"node"}', "what://is/this", "json:" + "[" * 500],
)
def test_names_without_sense_are_refused(name: str) -> None:
    with pytest.raises(ConfError, match="invalid name") as refused:
        parse_backing_name(name, "/images/top")
    assert refused.value.kind == "internal"


@given(st.one_of(st.text(max_size=80), st.text(max_size=60).map("json:{}".__add__)))
def test_any_name_is_a_place_or_refused(name: str) -> None:
    try:
        place = parse_backing_name(name, "/images/top")
    except ConfError:
        return
    assert bool(place.path) != bool(place.remote)
    assert not place.path or place.path.startswith("/")
