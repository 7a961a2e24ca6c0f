"""Files that are replaced: what is left of the former one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.runtime import atomic_file
from supervisor.runtime.atomic_file import swap_file


def test_the_former_file_stays_until_it_is_closed(tmp_path: Path) -> None:
    file = tmp_path / "a.xml"
    file.write_text("former")
    before = file.stat().st_ino
    former = swap_file(file, b"new")
    assert file.read_text() == "new"
    assert (os.fstat(former).st_ino, os.fstat(former).st_nlink) == (before, 0)
    os.close(former)
    assert os.listdir(tmp_path) == ["a.xml"]


def test_a_file_that_was_not_there_leaves_nothing_to_close(tmp_path: Path) -> None:
    assert swap_file(tmp_path / "a.xml", b"new") == -1
    assert (tmp_path / "a.xml").read_text() == "new"


def test_a_refused_replacement_leaves_no_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "a.xml").write_text("former")
    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(atomic_file, "_write", refuse)
    with pytest.raises(OSError, match="No space"):
        swap_file(tmp_path / "a.xml", b"new")
    assert os.listdir("/proc/self/fd") == before
    assert (tmp_path / "a.xml").read_text() == "former"
