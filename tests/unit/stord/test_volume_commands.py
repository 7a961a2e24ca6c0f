"""Command lines of qemu-img, mount and their like, and what is read of their answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.storage import Pool, PoolType, parse_pool
from rpc.errors import ErrorCode, VirError
from supervisor.stord import commands
from supervisor.stord.backends import mounts
from supervisor.stord.backends.base import CreateOptions
from supervisor.stord.backends.file_volumes import image_spec
from supervisor.stord.pool_xml import parse_volume_xml
from supervisor.stord.qemu_img import (
    ImageSpec,
    LuksOptions,
    SecretFd,
    fd_path,
    plan_convert,
    plan_create,
    plan_resize,
)


def pool(kind: str, source: str, head: str = "") -> Pool:
    return parse_pool(
        f"<pool type='{kind}'{head}><name>p</name><source>{source}</source>"
        "<target><path>/mnt/p</path></target></pool>"
    )


def test_a_program_that_is_missing_is_a_system_error_that_names_its_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(commands, "SEARCH_PATH", "/nowhere")
    with pytest.raises(VirError) as refusal:
        commands.find_program("scrub")
    assert refusal.value.code is ErrorCode.SYSTEM_ERROR
    assert "Cannot find 'scrub' in path: No such file or directory" in str(refusal.value)
    assert "install the package scrub" in str(refusal.value)


def test_a_qcow2_says_its_backing_format() -> None:
    image = ImageSpec(
        "/p/a", "qcow2", 1024, features=("lazy_refcounts",), cluster_size=65536,
        backing="/p/base", backing_format="raw",
    )  # fmt: skip
    assert plan_create(image) == [
        "qemu-img", "create", "-q", "-f", "qcow2", "-b", "/p/base", "-F", "raw",
        "-o", "compat=1.1,lazy_refcounts=on,cluster_size=65536", "/p/a", "1024",
    ]  # fmt: skip


def test_an_image_as_large_as_its_backing_file_says_no_size() -> None:
    assert plan_create(ImageSpec("/p/a", "vmdk"))[-1] == "/p/a"


def test_a_passphrase_is_a_descriptor_never_a_word() -> None:
    encrypted = ImageSpec(
        "/p/a", "raw", 1024, secret=SecretFd("target", 7), cipher=LuksOptions("aes-256", "xts")
    )
    words = plan_create(encrypted)
    assert words[3:7] == ["-f", "luks", "--object", "secret,id=target,file=/proc/self/fd/7"]
    assert "key-secret=target,cipher-alg=aes-256,cipher-mode=xts" in words


def test_an_encrypted_original_is_opened_with_its_own_key() -> None:
    source = ImageSpec("/p/a,b", "qcow2", secret=SecretFd("source", 5))
    words = plan_convert(source, ImageSpec("/p/c", "raw", secret=SecretFd("target", 6)))
    opened = "driver=qcow2,file.filename=/p/a,,b,encrypt.key-secret=source"
    assert words[-3:] == ["--image-opts", opened, "/p/c"]
    assert [word for word in words if word.startswith("secret,")] == [
        "secret,id=source,file=/proc/self/fd/5",
        "secret,id=target,file=/proc/self/fd/6",
    ]


def test_a_plain_copy_names_both_formats() -> None:
    words = plan_convert(ImageSpec("/p/a", "raw"), ImageSpec("/p/b", "vdi"))
    assert words == ["qemu-img", "convert", "-q", "-O", "vdi", "-f", "raw", "/p/a", "/p/b"]


def test_what_lies_below_an_open_image_is_named_with_its_format() -> None:
    image = ImageSpec(fd_path(5), "qcow2", 9, backing="/p/b,c", backing_format="raw")
    opened = (
        "driver=qcow2,file.filename=/proc/self/fd/5,"
        "backing.driver=raw,backing.file.filename=/p/b,,c"
    )
    assert plan_resize(image, shrink=False)[-3:] == ["--image-opts", opened, "9"]


def test_shrinking_is_said() -> None:
    assert "--shrink" in plan_resize(ImageSpec("/p/a", "qcow2", 1), shrink=True)
    assert "--shrink" not in plan_resize(ImageSpec("/p/a", "qcow2", 1), shrink=False)


NFS = "<host name='srv'/><dir path='/export'/>"


@pytest.mark.parametrize(
    ("kind", "source", "expected"),
    [
        ("fs", "<device path='/dev/sdb1'/>", ["-o", "nodev,nosuid,noexec", "--", "/dev/sdb1"]),
        (
            "fs",
            "<device path='/dev/sdb1'/><format type='ext4'/>",
            ["-t", "ext4", "-o", "nodev,nosuid,noexec", "--", "/dev/sdb1"],
        ),
        ("netfs", NFS, ["-o", "nodev,nosuid,noexec", "--", "srv:/export"]),
        (
            "netfs",
            f"{NFS}<format type='nfs'/><protocol ver='4'/>",
            ["-t", "nfs", "-o", "nodev,nosuid,noexec,nfsvers=4", "--", "srv:/export"],
        ),
        (
            "netfs",
            f"{NFS}<format type='cifs'/>",
            ["-t", "cifs", "-o", "nodev,nosuid,noexec,guest", "--", "//srv/export"],
        ),
        (
            "netfs",
            f"{NFS}<format type='glusterfs'/>",
            [
                *["-t", "glusterfs", "-o", "nodev,nosuid,noexec,direct-io-mode=1", "--"],
                "srv:export",
            ],
        ),
        (
            "netfs",
            "<host name='fe80::1'/><dir path='/x'/>",
            ["-o", "nodev,nosuid,noexec", "--", "[fe80::1]:/x"],
        ),
    ],
)
def test_mount_is_told_what_the_source_says(kind: str, source: str, expected: list[str]) -> None:
    assert mounts.plan_mount(pool(kind, source)) == ["mount", *expected, "/mnt/p"]


def test_mount_options_of_the_definition_come_last() -> None:
    document = (
        "<pool type='netfs' xmlns:fs='http://libvirt.org/schemas/storagepool/fs/1.0'>"
        f"<name>p</name><source>{NFS}</source><target><path>/mnt/p</path></target>"
        "<fs:mount_opts><fs:option name='sync'/><fs:option name='retrans=3'/></fs:mount_opts>"
        "</pool>"
    )
    words = mounts.plan_mount(parse_pool(document))
    assert words[2] == "nodev,nosuid,noexec,sync,retrans=3"


def test_a_device_is_never_taken_for_an_option() -> None:
    assert mounts.mount_source(pool("fs", "<device path='-evil'/>")) == "/-evil"


def test_mountinfo_is_read_with_its_escapes() -> None:
    text = (
        "36 35 98:0 / /mnt/p rw,noatime master:1 - ext3 /dev/root rw\n"
        "37 35 0:5 /x /mnt/with\\040space rw - nfs4 srv:/a\\134b rw,vers=4.2\n"
        "38 35 0:6 / /mnt/p rw shared:2 - tmpfs none rw\nrubbish\n"
    )
    found = mounts.read_mounts(text)
    assert mounts.mounted_at(found, "/mnt/with space") == mounts.Mount(
        "/mnt/with space", "nfs4", "srv:/a\\b"
    )
    over = mounts.mounted_at(found, "/mnt/p")
    assert over is not None
    assert over.format == "tmpfs"  # the last one covers the others
    assert mounts.mounted_at(found, "/mnt") is None


@given(st.text(max_size=300))
def test_any_text_is_read_as_some_mounts(text: str) -> None:
    assert len(mounts.read_mounts(text)) <= len(text.splitlines())


def test_exports_become_sources() -> None:
    found = mounts.read_exports("/srv/a *\n/srv/b 10.0.0.0/8,host\n\nclnt_create: no\n", "srv")
    assert [(source.dir, source.hosts[0].name) for source in found] == [
        ("/srv/a", "srv"),
        ("/srv/b", "srv"),
    ]


@pytest.mark.parametrize(
    "capacity", ["", "<capacity>0</capacity>", "<capacity unit='G'>0</capacity>"]
)
def test_overlay_without_a_capacity_has_the_size_of_its_backing_file(capacity: str) -> None:
    definition = parse_volume_xml(
        f"<volume><name>v</name>{capacity}<target><format type='qcow2'/></target>"
        "<backingStore><path>/p/base</path><format type='raw'/></backingStore></volume>",
        PoolType.DIR,
    )
    spec = image_spec(definition, CreateOptions(), "/p", "v", None)
    assert plan_create(spec)[-1] == "/p/v"  # no size follows


def test_empty_volume_without_a_backing_file_has_no_bytes() -> None:
    definition = parse_volume_xml(
        "<volume><name>v</name><capacity>0</capacity><target><format type='qcow2'/></target>"
        "</volume>",
        PoolType.DIR,
    )
    assert plan_create(image_spec(definition, CreateOptions(), "/p", "v", None))[-1] == "0"


def test_image_sizes_are_whole_kib() -> None:
    definition = parse_volume_xml(
        "<volume><name>v</name><capacity>1025</capacity><target><format type='qcow2'/></target>"
        "</volume>",
        PoolType.DIR,
    )
    assert plan_create(image_spec(definition, CreateOptions(), "/p", "v", None))[-1] == "2048"


def test_cluster_size_is_for_qemu_img_to_refuse() -> None:
    spec = ImageSpec(path="/p/v", format="iso", capacity=1024, cluster_size=65536)
    assert plan_create(spec)[3:] == ["-f", "raw", "-o", "cluster_size=65536", "/p/v", "1024"]
