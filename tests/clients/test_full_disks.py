"""A disk that is full, under volumes or guests: an error with the file, and nothing half-made."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.clients.daemon import Daemon
from tests.clients.domains import idle
from tests.clients.namespace import own_mounts, shown

MIB: Final = 1024 * 1024
SIZE_MIB: Final = 24


@pytest.fixture(scope="module")
def small() -> Iterator[tuple[Daemon, Path]]:
    """A daemon, and the folder of its pool "small" on a file system of few bytes."""
    with own_mounts(), Daemon() as daemon:
        folder = daemon.root / "small"
        folder.mkdir()
        shown("mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "small", str(folder))
        daemon.ok("pool-create-as", "small", "dir", "--target", str(folder))
        yield daemon, folder
        daemon.ok("pool-destroy", "small")


@pytest.fixture
def original(small: tuple[Daemon, Path]) -> Iterator[str]:
    """A volume with so much data that there is no room for a second one."""
    daemon, folder = small
    daemon.ok("vol-create-as", "small", "a.raw", "16M", "--allocation", "0")
    (folder / "a.raw").write_bytes(os.urandom(16 * MIB))
    daemon.ok("pool-refresh", "small")
    yield "a.raw"
    daemon.ok("vol-delete", "a.raw", "--pool", "small")


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_a_volume_that_finds_no_room_is_gone(
    small: tuple[Daemon, Path], original: str, kind: str
) -> None:
    daemon, folder = small
    words = ["vol-create-as", "small", "b", "20M", "--format", kind]
    done = daemon.virsh(*words, *(["--prealloc-metadata"] if kind == "qcow2" else []))
    if kind == "raw":
        assert done.returncode == 1
        assert "No space left" in done.stderr
        assert [path.name for path in folder.iterdir()] == [original]
        assert "b" not in daemon.ok("vol-list", "small").split()
    else:  # its space is not taken yet
        daemon.ok("vol-delete", "b", "--pool", "small")


def test_a_copy_that_finds_no_room_is_gone(small: tuple[Daemon, Path], original: str) -> None:
    daemon, folder = small
    for kind in ("raw", "qcow2"):
        document = daemon.root / "copy.xml"
        document.write_text(
            "<volume><name>b</name><capacity unit='M'>16</capacity><allocation>0</allocation>"
            f"<target><format type='{kind}'/></target></volume>"
        )
        done = daemon.virsh(
            "vol-create-from", "small", str(document), original, "--inputpool", "small"
        )
        assert done.returncode == 1
        assert "No space left" in done.stderr
        assert [path.name for path in folder.iterdir()] == [original]
        assert daemon.ok("vol-list", "small").split()[3::2] == [original]


def test_an_upload_that_finds_no_room_says_so_and_leaves_the_pool_well(
    small: tuple[Daemon, Path], original: str
) -> None:
    daemon, folder = small
    data = daemon.root / "data"
    data.write_bytes(os.urandom(20 * MIB))
    daemon.ok("vol-create-as", "small", "up.raw", "20M", "--allocation", "0")
    done = daemon.virsh("vol-upload", "up.raw", str(data), "--pool", "small")
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert (folder / original).stat().st_size == 16 * MIB
    daemon.ok("vol-delete", "up.raw", "--pool", "small")
    daemon.ok("vol-create-as", "small", "after.raw", "1M")
    daemon.ok("vol-delete", "after.raw", "--pool", "small")
    assert subprocess.run(["findmnt", str(folder)], capture_output=True, check=False).stdout


def use_up(folder: Path, *, inodes: bool) -> Path:
    """Leave no byte, or no inode, on a small file system; the folder to remove afterwards."""
    used = folder / "used"
    used.mkdir()
    with contextlib.suppress(OSError):
        if inodes:
            for number in itertools.count():
                (used / str(number)).touch()
    with (used / "0").open("wb", buffering=0) as file:
        for size in () if inodes else (65536, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    return used


@pytest.fixture(scope="module")
def cramped() -> Iterator[Daemon]:
    """A daemon whose folders of running guests are small file systems."""
    with own_mounts():
        daemon = Daemon()
        for part in ("run", "var/lib/libvirt", "var/log"):
            (daemon.root / part).mkdir(parents=True)
            options = "size=4m,nr_inodes=600"
            shown("mount", "-t", "tmpfs", "-o", options, "cramped", str(daemon.root / part))
        with daemon:
            document = daemon.root / "web.xml"
            document.write_text(idle("web"))
            daemon.ok("define", str(document))
            yield daemon


@pytest.mark.parametrize("inodes", [False, True])
@pytest.mark.parametrize("part", ["run", "var/lib/libvirt"])
def test_a_start_on_a_full_disk_names_the_file(cramped: Daemon, part: str, *, inodes: bool) -> None:
    used = use_up(cramped.root / part, inodes=inodes)
    done = cramped.virsh("start", "web")
    shutil.rmtree(used)
    assert done.returncode == 1
    assert f"'{cramped.root / part}/" in done.stderr
    assert "No space left on device" in done.stderr
    assert "unexpected" not in cramped.log.read_text()
    cramped.ok("start", "web")
    cramped.ok("destroy", "web")


def test_a_guest_runs_on_while_its_disks_are_full(cramped: Daemon) -> None:
    cramped.ok("start", "web")
    parts = [cramped.root / part for part in ("run", "var/lib/libvirt", "var/log")]
    used = [use_up(part, inodes=False) for part in parts]
    cramped.ok("suspend", "web")
    cramped.ok("resume", "web")
    assert cramped.ok("domstate", "web").split() == ["running"]
    cramped.ok("destroy", "web")
    for folder in used:
        shutil.rmtree(folder)
    cramped.ok("start", "web")
    cramped.ok("destroy", "web")
