"""Files with a guest's memory: the earlier one stays until the new one is whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rpc.errors import ErrorCode, VirError
from supervisor.objects.domain_status_xml import LoadedMemory, MemoryFile, Status
from supervisor.workers.qemu.migration.memory_files import (
    clean_up_memory,
    end_file,
    remove_image,
)
from supervisor.workers.qemu.migration.target_file import (
    TargetFile,
    discard,
    open_target,
    plan_target,
    publish,
)


def status(**more: object) -> Status:
    return Status(name="web", uuid="u", id=1, state=1, reason=1, **more)  # type: ignore[arg-type]


def opened(path: str) -> TargetFile:
    target = plan_target(path)
    open_target(target, path, direct=False)
    return target


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_earlier_file_stays_until_the_new_one_is_published(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_text("earlier")
    path.chmod(0o640)
    target = opened(str(path))
    os.write(target.fd, b"new")
    assert path.read_text() == "earlier"
    publish(target.temporary, target.path)
    with pytest.raises(FileNotFoundError):
        publish(target.temporary, target.path)
    assert (path.read_text(), names(tmp_path)) == ("new", ["image"])
    assert path.stat().st_mode & 0o777 == 0o640
    target.close()


def test_a_new_file_is_for_root_alone(tmp_path: Path) -> None:
    target = opened(str(tmp_path / "image"))
    publish(target.temporary, target.path)
    target.close()
    assert (tmp_path / "image").stat().st_mode & 0o777 == 0o600


def test_a_file_that_was_not_completed_is_gone(tmp_path: Path) -> None:
    target = opened(str(tmp_path / "image"))
    target.close()
    discard(target.temporary)
    discard(target.temporary)
    assert names(tmp_path) == []


def test_a_symbolic_link_keeps_pointing_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("image")
    target = opened(str(tmp_path / "link"))
    publish(target.temporary, target.path)
    target.close()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "image").is_file()


@pytest.mark.parametrize("path", ["no/such/folder", "."])
def test_a_path_that_is_no_files_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(VirError, match="Failed to create file") as refused:
        opened(str(tmp_path / path))
    assert refused.value.code is ErrorCode.SYSTEM_ERROR
    assert names(tmp_path) == []


def test_a_device_is_written_in_place() -> None:
    target = opened("/dev/null")
    assert target.temporary == ""
    target.close()


def test_a_partial_file_of_a_guest_that_ended_is_removed(tmp_path: Path) -> None:
    partial = tmp_path / ".image.part"
    partial.write_text("half")
    ended = status(
        memory_file=MemoryFile(path=str(tmp_path / "image"), temporary=str(partial), resume=True)
    )
    clean_up_memory(ended)
    assert (ended.memory_file, names(tmp_path)) == (None, [])


def test_a_file_that_its_own_worker_writes_is_left_to_it(tmp_path: Path) -> None:
    partial = tmp_path / ".image.part"
    partial.write_text("perhaps whole")
    file = MemoryFile(
        path=str(tmp_path / "image"), temporary=str(partial), resume=True, writer=os.getpid()
    )
    clean_up_memory(status(memory_file=file))
    assert names(tmp_path) == [".image.part"]


def test_a_complete_file_gets_its_name_whoever_finds_it(tmp_path: Path) -> None:
    whole = tmp_path / ".image.part"
    whole.write_text("whole")
    file = MemoryFile(
        path=str(tmp_path / "image"), temporary=str(whole), resume=True, complete=True
    )
    end_file(file)
    end_file(file)
    assert (tmp_path / "image").read_text() == "whole"


def test_the_image_of_a_guest_that_runs_is_removed_once(tmp_path: Path) -> None:
    image = tmp_path / "web.save"
    image.write_text("x")
    loaded = LoadedMemory(image=str(image), run=True)
    remove_image(loaded)
    remove_image(loaded)
    assert names(tmp_path) == []


def test_the_image_of_a_guest_that_perhaps_ran_is_set_aside(tmp_path: Path) -> None:
    image = tmp_path / "web.save"
    image.write_text("x")
    clean_up_memory(status(loaded=LoadedMemory(image=str(image), run=True)))
    assert names(tmp_path) == ["web.save.interrupted"]
