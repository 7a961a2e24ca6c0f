"""A disk that is full in the middle of a volume's making: an error, and nothing half-made."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.clients.daemon import Daemon
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
