"""Headers that were read before: reused only while the file cannot have changed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from supervisor.images import ImageInfo
from supervisor.stord.pool_process.known_images import COARSE_NS, KnownImages

RAW = ImageInfo(format="raw")
OLD_NS = time.time_ns() - 10 * COARSE_NS


def old(path: Path, when_ns: int = OLD_NS) -> os.stat_result:
    """A file's status as if it had last been changed then."""
    fields = list(path.stat())
    status = os.stat_result(
        fields, {"st_mtime_ns": when_ns, "st_ctime_ns": when_ns, "st_atime_ns": when_ns}
    )
    assert status.st_mtime_ns == when_ns
    return status


def test_a_file_that_is_as_it_was_is_not_read_again(tmp_path: Path) -> None:
    known, path = KnownImages(), tmp_path / "v"
    path.write_bytes(b"x")
    known.add("v", old(path), RAW)
    assert known.find("v", old(path)) is None, "it was met in this scan only"
    known.begin()
    assert known.find("v", old(path)) is RAW
    known.begin()
    assert known.find("v", old(path)) is RAW


@pytest.mark.parametrize("content", [b"y", b"longer"])
def test_a_changed_file_is_read_again(tmp_path: Path, content: bytes) -> None:
    known, path = KnownImages(), tmp_path / "v"
    path.write_bytes(b"x")
    known.add("v", old(path), RAW)
    known.begin()
    path.write_bytes(content)
    assert known.find("v", old(path, OLD_NS + 1)) is None


def test_a_file_that_was_just_written_is_not_remembered(tmp_path: Path) -> None:
    known, path = KnownImages(), tmp_path / "v"
    path.write_bytes(b"x")
    known.add("v", old(path, time.time_ns()), RAW)
    known.begin()
    assert known.find("v", old(path, time.time_ns())) is None


def test_a_file_that_has_left_is_forgotten(tmp_path: Path) -> None:
    known, path = KnownImages(), tmp_path / "v"
    path.write_bytes(b"x")
    known.add("v", old(path), RAW)
    known.begin()
    known.begin()
    assert known.find("v", old(path)) is None
