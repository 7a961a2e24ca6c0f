"""File systems of containers: read-only ones stay read-only, errors name the path."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.container_daemon import Boxes, boxes
from tests.clients.containers import container
from tests.clients.libvirt_binding import libvirt

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="containers take root's rights")

ROOT = 200000  # on the host, of every container that maps users


@pytest.fixture(scope="module")
def box() -> Iterator[Boxes]:
    with boxes() as held:
        for name in ("one", "two"):
            (held.rootfs / "mnt" / name).mkdir(parents=True)
        (held.rootfs / "mnt/file").touch()
        yield held


@pytest.fixture(autouse=True)
def every_mount_is_gone(box: Boxes) -> Iterator[None]:
    yield
    box.end_all()
    assert str(box.daemon.root) not in Path("/proc/self/mounts").read_text()


def filesystem(source: str, target: str = "/mnt/one", extra: str = "", kind: str = "mount") -> str:
    return f"<filesystem type='{kind}'>{source}<target dir='{target}'/>{extra}</filesystem>"


def run(box: Boxes, name: str, extra: str, **words: Any) -> Any:
    return box.link.createXML(container(name, box.rootfs, extra=extra, **words))


@pytest.fixture
def shared(box: Boxes) -> Iterator[Path]:
    """A directory of the container's root, with a file.

    Not below pytest's own temporary directory: each session that starts sets that back to mode
    0700, in which users of a container may not enter it.
    """
    with tempfile.TemporaryDirectory(dir=box.rootfs.parent) as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "word").write_text("word")
        for path in (folder, folder / "word"):
            os.chown(path, ROOT, ROOT)
        yield folder


def test_a_read_only_filesystem_cannot_be_remounted_writable_inside(
    box: Boxes, shared: Path
) -> None:
    run(
        box,
        "reads",
        filesystem(f"<source dir='{shared}'/>", extra="<readonly/>")
        + filesystem(f"<source dir='{shared}/word'/>", "/mnt/file", "<readonly/>")
        + filesystem(f"<source dir='{shared}'/>", "/mnt/two"),
    )
    for place in ("/mnt/one", "/mnt/file"):
        output = box.as_root("reads", f"mount -o remount,bind,rw {place} || echo refused")
        assert "refused" in output
    output = box.as_root("reads", "echo x > /mnt/one/new; ls /mnt/one", check=False)
    assert "Read-only file system" in output
    assert "word" in output
    box.as_root("reads", "echo -n x > /mnt/two/new")
    assert (shared / "new").read_text() == "x"
    box.end_all()
    assert sorted(path.name for path in shared.iterdir()) == ["new", "word"]


def test_a_read_only_root_cannot_be_remounted_writable(box: Boxes) -> None:
    os.chown(box.rootfs / "root", ROOT, ROOT)
    xml = container("fixed", box.rootfs).replace(
        "<target dir='/'/>", "<target dir='/'/><readonly/>"
    )
    box.link.createXML(xml)
    output = box.as_root("fixed", "mount -o remount,bind,rw /; echo x > /root/new", check=False)
    assert "Read-only file system" in output
    assert list((box.rootfs / "root").iterdir()) == []


def test_mounted_images_are_not_accessible_to_users_of_the_host(box: Boxes, tmp_path: Path) -> None:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(8 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True, timeout=20)
    run(box, "image", filesystem(f"<source file='{image}'/>", "/mnt/one", "<readonly/>", "file"))
    assert "lost+found" in box.inside("image", "/bin/ls", "/mnt/one")
    place = box.daemon.root / "run/libvirt/lxc/image.d"
    assert place.stat().st_mode & 0o777 == 0o710
    assert place.stat().st_gid == ROOT
    output = box.as_root("image", "mount -o remount,rw /mnt/one; echo x > /mnt/one/x", check=False)
    assert "Read-only file system" in output


def test_a_ram_filesystem_has_its_usage_size(box: Boxes) -> None:
    run(box, "ram", filesystem("<source usage='2048' units='KiB'/>", kind="ram"))
    assert "2048" in box.inside("ram", "/bin/df", "-k", "/mnt/one")
    output = box.as_root("ram", "dd if=/dev/zero of=/mnt/one/x bs=1024 count=4096", check=False)
    assert "No space left" in output
    box.end_all()
    run(box, "ram", filesystem("<source usage='0'/>", kind="ram"))  # no limit, as with stock
    assert "tmpfs" in box.inside("ram", "/bin/df", "-k", "/mnt/one")
    box.as_root("ram", "dd if=/dev/zero of=/mnt/one/x bs=1024 count=4096")


@pytest.mark.parametrize(
    ("element", "named"),
    [
        (
            filesystem("<source file='/etc/passwd'/>", extra="<driver type='nbd'/>", kind="file"),
            "nbd",
        ),
        (
            filesystem("<source file='/etc/passwd'/>", extra="<driver type='loop' format='qcow2'/>",
                       kind="file"), "qcow2",
        ),
        (filesystem("<source dir='/nowhere/at/all'/>"), "/nowhere/at/all"),
        (
            filesystem("<source dir='/tmp'/>",
                       extra="<space_hard_limit unit='MiB'>5</space_hard_limit>"),
            "/mnt/one.*space_hard_limit",
        ),
        (filesystem("<source name='debian'/>", kind="template"), "template"),
        (filesystem("<source dev='/dev/nothing'/>", kind="block"), "/dev/nothing"),
        (filesystem("<source dir='/tmp'/>", "/mnt/absent/deep"), "/mnt/absent/deep|failed"),
        ("<filesystem accessmode='mapped'><source dir='/tmp'/><target dir='/mnt/one'/>"
         "</filesystem>", "mapped"),
    ],
)  # fmt: skip
def test_an_unusable_filesystem_is_named_and_leaves_no_mount(
    box: Boxes, element: str, named: str
) -> None:
    with pytest.raises(libvirt.libvirtError, match=named):
        run(box, "refused", element)
    assert not (box.daemon.root / "run/libvirt/lxc/refused.d").exists()


def test_a_missing_mount_target_is_created_without_idmap(box: Boxes, shared: Path) -> None:
    run(box, "makes", filesystem(f"<source dir='{shared}'/>", "/mnt/made"), idmap="")
    assert box.inside("makes", "/bin/cat", "/mnt/made/word").strip() == "word"
    box.end_all()
    (box.rootfs / "mnt/made").rmdir()
