"""Backing chains of a domain's disks are completed in the live XML."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from conf.domain import Domain, format_domain, parse_domain
from conf.domain.devices.disk import Disk
from rpc.errors import ErrorCode, VirError
from supervisor.images.files import Image, read_image_file
from supervisor.workers.qemu.block.backing_chains import complete_disk
from supervisor.workers.qemu.start.files import disk_files


def domain(*disks: str) -> Domain:
    return parse_domain(
        "<domain type='qemu'><name>d</name><memory>1024</memory>"
        f"<os><type arch='x86_64'>hvm</type></os><devices>{''.join(disks)}</devices></domain>"
    )


def disk(source: str, form: str = "qcow2", *, kind: str = "file", target: str = "vda") -> str:
    return (
        f"<disk type='{kind}' device='disk'><driver type='{form}'/>{source}"
        f"<target dev='{target}'/></disk>"
    )


def image(below: str = "", form: str = "raw") -> bytes:
    """A qcow2 header with a backing file and its format."""
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


class Files:
    """Images by their paths; those in `devices` are block devices."""

    def __init__(self, images: dict[str, bytes], devices: tuple[str, ...] = ()) -> None:
        self.images, self.devices = images, devices

    def __call__(self, path: str) -> Image:
        if path not in self.images:
            raise FileNotFoundError(2, "No such file or directory", path)
        return Image(self.images[path], path, path in self.devices)


def completed(xml: str, files: Files) -> Disk:
    (found,) = domain(xml).devices.disks
    complete_disk(found, files)
    return found


def test_detected_images_are_in_the_chain_and_belong_to_the_disks_files() -> None:
    files = Files({"/top": image("lv"), "/lv": image("/base"), "/base": b""}, ("/lv",))
    files.images["/top"] = image("lv", "qcow2")
    found = completed(disk("<source file='/top'/>"), files)
    assert [(s.type, s.file or s.dev, form) for s, form, _ in found.chain()] == [
        ("file", "/top", "qcow2"),
        ("block", "/lv", "qcow2"),
        ("file", "/base", "raw"),
    ]
    assert found.chain_ends()
    given = [(file.path, file.shared) for file in disk_files(found)]
    assert given == [("/top", False), ("/lv", True), ("/base", True)]
    before = format_domain(domain_of(found), live=True)
    complete_disk(found, files)
    assert format_domain(domain_of(found), live=True) == before  # completing is idempotent


def domain_of(found: Disk) -> Domain:
    made = domain()
    made.devices.disks = [found]
    return made


@pytest.mark.parametrize(
    "xml",
    [
        disk("<source file='/raw'/>", "raw"),
        disk("<source protocol='nbd' name='n'><host name='h'/></source>", "raw", kind="network"),
        disk("<source dir='/folder'/>", "fat", kind="dir"),
    ],
)
def test_a_chain_without_backing_file_is_terminated(xml: str) -> None:
    found = completed(xml, Files({"/raw": image("/etc/shadow")}))
    assert (len(found.chain()), found.chain_ends()) == (1, True)


def test_a_remote_backing_file_is_left_to_qemu() -> None:
    found = completed(disk("<source file='/top'/>"), Files({"/top": image("nbd://server/export")}))
    assert (len(found.chain()), found.chain_ends()) == (1, False)
    network = "<source protocol='nbd' name='n'><host name='h'/></source>"
    assert not completed(disk(network, kind="network"), Files({})).chain_ends()


def test_an_empty_drive_stays_empty() -> None:
    xml = "<disk type='file' device='cdrom'><target dev='hda'/></disk>"
    found = completed(xml, Files({}))
    assert (found.chain(), found.backing_store) == ([], None)


def test_a_missing_image_is_named() -> None:
    for images, words in (
        ({}, "Cannot access storage file '/top': No such file"),
        (
            {"/top": image("gone")},
            "Cannot access backing file '/gone' of storage file '/top': No such file",
        ),
    ):
        with pytest.raises(VirError, match=words) as refused:
            completed(disk("<source file='/top'/>"), Files(images))
        assert refused.value.code is ErrorCode.SYSTEM_ERROR


def test_only_files_and_devices_are_images(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"contents")
    link = tmp_path / "link"
    link.symlink_to(file)
    found, same = read_image_file(str(file)), read_image_file(str(link))
    assert (found.head, found.is_device, found.identity) == (b"contents", False, same.identity)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    device = read_image_file("/dev/zero")  # which QEMU takes, and which is not read here
    assert (device.head, device.is_device) == (b"", True)
    for path in (pipe, tmp_path, tmp_path / "gone"):
        with pytest.raises(OSError, match=r".+"):
            read_image_file(str(path))
