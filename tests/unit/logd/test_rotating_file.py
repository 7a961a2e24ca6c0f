"""Guests' logs have a size, and so many old ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.settings import LogdConfig
from supervisor.logd.rotating_file import RotatingFile, split

SMALL = LogdConfig(max_size=100, max_backups=2)


def open_file(path: Path, config: LogdConfig = SMALL, *, truncate: bool = False) -> RotatingFile:
    return RotatingFile(str(path), lambda: config, truncate=truncate)


def written(path: Path, *parts: bytes, config: LogdConfig = SMALL) -> dict[str, bytes]:
    """Write to the file, and return every file of the folder."""
    file = open_file(path, config)
    for part in parts:
        file.write(part)
    file.close()
    return {entry.name: entry.read_bytes() for entry in path.parent.iterdir()}


def test_a_full_file_is_rotated_and_the_oldest_goes(tmp_path: Path) -> None:
    parts = [str(n).encode() * 100 for n in range(5)]
    assert written(tmp_path / "log", *parts) == {
        "log": parts[4],
        "log.0": parts[3],
        "log.1": parts[2],
    }


def test_a_line_is_not_split_between_two_files(tmp_path: Path) -> None:
    files = written(tmp_path / "log", b"a" * 60 + b"\n", b"b" * 30 + b"\n" + b"c" * 30 + b"\n")
    assert files == {
        "log.0": b"a" * 60 + b"\n" + b"b" * 30 + b"\n",
        "log": b"c" * 30 + b"\n",
    }


def test_without_old_files_the_file_begins_anew(tmp_path: Path) -> None:
    config = LogdConfig(max_size=100, max_backups=0)
    assert written(tmp_path / "log", b"a" * 100, b"b" * 20, config=config) == {"log": b"b" * 20}


def test_a_file_that_is_too_large_already_is_rotated_first(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"x" * 500)  # as by an earlier version, or a larger limit
    assert written(tmp_path / "log", b"new") == {"log.0": b"x" * 500, "log": b"new"}


def test_a_file_that_logrotate_emptied_has_room_again(tmp_path: Path) -> None:
    file = open_file(tmp_path / "log")
    file.write(b"a" * 100)
    os.truncate(tmp_path / "log", 0)
    file.write(b"b" * 100)
    file.close()
    assert {entry.name for entry in tmp_path.iterdir()} == {"log"}


def test_truncating_removes_the_old_files_too(tmp_path: Path) -> None:
    for name in ("log", "log.0", "log.1", "log.7", "other"):
        (tmp_path / name).write_text("old")
    open_file(tmp_path / "log", truncate=True).close()
    found = {entry.name: entry.read_text() for entry in tmp_path.iterdir()}
    assert found == {"log": "", "log.7": "old", "other": "old"}  # log.7 is none of ours


def test_a_link_is_not_followed_and_its_target_kept(tmp_path: Path) -> None:
    target = tmp_path / "shadow"
    target.write_text("root")
    (tmp_path / "log").symlink_to(target)
    for truncate in (False, True):
        with pytest.raises(OSError, match="symbolic links"):
            open_file(tmp_path / "log", truncate=truncate)
    assert target.read_text() == "root"


def test_a_link_in_place_of_an_old_file_is_replaced_and_its_target_kept(tmp_path: Path) -> None:
    target = tmp_path / "shadow"
    target.write_text("root")
    (tmp_path / "log.0").symlink_to(target)
    (tmp_path / "log.1").symlink_to(target)
    written(tmp_path / "log", b"a" * 100, b"b" * 100)
    assert target.read_text() == "root"
    assert (tmp_path / "log.0").read_bytes() == b"a" * 100


def test_what_is_no_plain_file_is_neither_rotated_nor_removed() -> None:
    file = open_file(Path("/dev/null"), truncate=True)
    file.write(b"x" * 1000)
    assert file.tail(10) == b""
    file.close()
    assert Path("/dev/null").is_char_device()
    assert not Path("/dev/null.0").exists()


def test_the_tail_is_what_was_written_last(tmp_path: Path) -> None:
    file = open_file(tmp_path / "log")
    file.write(b"first, last")
    assert file.tail(4) == b"last"
    assert file.tail(4096) == b"first, last"
    file.close()


@given(st.binary(max_size=300), st.integers(-10, 200))
def test_no_file_gets_more_than_it_may_have(data: bytes, room: int) -> None:
    count, is_full = split(memoryview(data), room)
    assert 0 <= count <= max(room, 0)
    assert count <= len(data)
    assert is_full or count == len(data)
