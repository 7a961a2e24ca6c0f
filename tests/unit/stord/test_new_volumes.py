"""The pool's process makes raw volumes: whole, flushed once for all that arrive together."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ipc import Unfinished
from rpc.errors import ErrorCode, VirError
from supervisor.stord.pool_process import volume_files, write_out
from supervisor.stord.pool_process.file_btime import btime_ns
from supervisor.stord.pool_process.messages import (
    ClonedVolume,
    CloneRawVolume,
    CopyRaw,
    CreateRaw,
    CreateRawVolume,
    FilePermissions,
    Remove,
)
from supervisor.stord.pool_process.volume_files import VolumeFiles
from supervisor.stord.volume_info import NewVolume


def creation(directory: Path, name: str, mode: int = 0o640) -> CreateRawVolume:
    return CreateRawVolume(
        file=CreateRaw(
            directory=str(directory), temporary_name=f".new-{name}", capacity=8192, allocation=0
        ),
        name=name,
        permissions=FilePermissions(mode=mode),
    )


def cloning(directory: Path, source: str, name: str, limit: int = 1 << 20) -> CloneRawVolume:
    return CloneRawVolume(
        directory=str(directory),
        temporary_name=f".new-{name}",
        copy=CopyRaw(
            source=f"{directory}/{source}", target=f"{directory}/.new-{name}", size=0, is_new=True
        ),
        name=name,
        permissions=FilePermissions(mode=0o600),
        limit=limit,
    )


def made(answer: object) -> NewVolume:
    assert isinstance(answer, Unfinished)
    finished = answer.finish()
    volume = finished.made if isinstance(finished, ClonedVolume) else finished
    assert isinstance(volume, NewVolume)
    return volume


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The directories that were flushed."""
    found: list[str] = []
    monkeypatch.setattr(volume_files, "sync_folder", lambda path: found.append(str(path)))
    return found


def test_a_new_volume_is_described_as_it_is(tmp_path: Path) -> None:
    volume = made(VolumeFiles().create_raw_volume(creation(tmp_path, "v")))
    status = (tmp_path / "v").stat()
    assert (volume.volume.name, volume.volume.key) == ("v", f"{tmp_path}/v")
    assert (volume.volume.capacity, volume.volume.allocation) == (8192, 0)
    assert (volume.volume.mode, volume.volume.owner) == (0o640, os.getuid())
    times = (status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns)
    assert volume.volume.times[:3] == times
    assert volume.volume.times[3:] == tuple(filter(None, [btime_ns(f"{tmp_path}/v")]))
    assert volume.space is not None
    assert volume.space.capacity > 0


def test_volumes_that_are_created_together_share_a_flush(
    tmp_path: Path, flushed: list[str]
) -> None:
    files = VolumeFiles()
    answers = [files.create_raw_volume(creation(tmp_path, name)) for name in "abc"]
    assert flushed == []
    assert [made(answer).volume.name for answer in answers] == ["a", "b", "c"]
    assert flushed == [str(tmp_path)]
    made(files.create_raw_volume(creation(tmp_path, "later")))
    assert len(flushed) == 2


def test_nothing_is_left_of_volumes_that_cannot_be_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str) -> None:
        raise OSError(5, os.strerror(5))

    files = VolumeFiles()
    answers = [files.create_raw_volume(creation(tmp_path, name)) for name in "ab"]
    monkeypatch.setattr(volume_files, "sync_folder", fail)
    for answer in answers:
        with pytest.raises(VirError, match="Input/output error"):
            answer.finish()
    assert list(tmp_path.iterdir()) == []


def test_a_clone_is_written_out_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flushed: list[str]
) -> None:
    names: list[list[str]] = []

    def look(fd: int) -> None:
        names.append(sorted(path.name for path in tmp_path.iterdir()))
        assert os.fstat(fd).st_size == 5000

    monkeypatch.setattr(volume_files, "write_out", look)
    (tmp_path / "source").write_bytes(b"d" * 5000)
    answer = VolumeFiles().clone_raw_volume(cloning(tmp_path, "source", "clone"))
    assert made(answer).volume.capacity == 5000
    assert names == [[".new-clone", "source"]]
    assert flushed == [str(tmp_path)]
    assert (tmp_path / "clone").read_bytes() == b"d" * 5000


def test_a_clone_of_too_much_is_not_begun(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"d" * 8192)
    answer = VolumeFiles().clone_raw_volume(cloning(tmp_path, "source", "clone", limit=4096))
    assert answer == ClonedVolume(made=None)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_link_out_of_the_pool_is_not_cloned(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "pool/source").symlink_to(tmp_path / "secret")
    with pytest.raises(VirError) as refused:
        VolumeFiles().clone_raw_volume(cloning(tmp_path / "pool", "source", "clone"))
    assert refused.value.code is ErrorCode.OPERATION_DENIED
    assert [path.name for path in (tmp_path / "pool").iterdir()] == ["source"]


def test_a_removal_tells_what_is_left_and_flushes_nothing(
    tmp_path: Path, flushed: list[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/nowhere")
    for name in ("file", "folder", "link", "missing"):
        removed = VolumeFiles().remove(Remove(directory=str(tmp_path), name=name))
        assert removed.space is not None
    assert list(tmp_path.iterdir()) == []
    assert flushed == []


def test_a_folder_with_files_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").touch()
    with pytest.raises(VirError, match="not empty"):
        VolumeFiles().remove(Remove(directory=str(tmp_path), name="folder"))


def test_the_file_system_is_asked_for_its_type(tmp_path: Path) -> None:
    shown = subprocess.run(["stat", "-f", "-c", "%t", tmp_path], capture_output=True, check=True)
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert write_out.filesystem_type(fd) == int(shown.stdout, 16)
    finally:
        os.close(fd)


@pytest.mark.parametrize("in_order", [True, False])
def test_a_file_system_that_promises_no_order_is_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, in_order: bool
) -> None:
    flushes: list[int] = []
    monkeypatch.setattr(os, "fsync", flushes.append)
    fd = os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT)
    try:
        os.write(fd, b"data")
        types = (write_out.filesystem_type(fd),) if in_order else ()
        monkeypatch.setattr(write_out, "IN_ORDER", types)
        write_out.write_out(fd)
        assert flushes == ([] if in_order else [fd])
    finally:
        os.close(fd)
