"""The files of new overlays: made once, never in place of another one, gone after a failure."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from rpc.errors import VirError
from supervisor.images.new_qcow2 import Shape, new_qcow2
from supervisor.workers.qemu.block import overlay_files
from supervisor.workers.qemu.block.new_files import NewFile
from supervisor.workers.qemu.block.overlay_files import OverlayFiles

IMAGE = new_qcow2(Shape(1 << 30), "below", "raw")


def test_an_image_can_be_opened_before_it_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_sync, path = threading.Event(), str(tmp_path / "a")
    monkeypatch.setattr(NewFile, "sync", lambda _: may_sync.wait(10))

    async def work() -> None:
        files = OverlayFiles()
        await files.make([path])
        await files.write({path: IMAGE})
        with open(path, "rb") as file:  # noqa: ASYNC230
            assert file.read(4) == b"QFI\xfb"
        assert os.stat(path).st_mode & 0o777 == 0o600
        durable = asyncio.create_task(files.wait_durable())
        await asyncio.sleep(0)
        assert not durable.done()
        may_sync.set()
        await durable
        files.close()

    asyncio.run(work())


def test_a_file_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    (tmp_path / "link").symlink_to(tmp_path / "secret")

    async def work() -> None:
        files = OverlayFiles()
        await files.make([str(tmp_path / name) for name in ("there", "link", "new")])
        assert [str(tmp_path / name) in files for name in ("there", "link", "new")] == [0, 0, 1]
        files.close()
        files.remove()

    asyncio.run(work())
    assert sorted(os.listdir(tmp_path)) == ["link", "there"]


def test_of_files_that_cannot_all_be_made_none_is_left(tmp_path: Path) -> None:
    paths = [str(tmp_path / "a"), str(tmp_path / "no folder" / "b")]
    with pytest.raises(VirError, match=r"failed to create image file '.*/b': No such file"):
        asyncio.run(OverlayFiles().make(paths))
    assert not os.listdir(tmp_path)


def test_a_full_disk_is_an_error_before_qemu_opens_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "a")
    monkeypatch.setattr(os, "pwrite", lambda *_: 1)

    async def work() -> None:
        files = OverlayFiles()
        await files.make([path])
        with pytest.raises(VirError, match="No space left on device"):
            await files.write({path: IMAGE})
        files.close()

    asyncio.run(work())


def test_a_server_that_hangs_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on, path = threading.Event(), str(tmp_path / "a")
    monkeypatch.setattr(NewFile, "sync", lambda _: may_go_on.wait(10))
    monkeypatch.setattr(overlay_files, "FILES_S", 0.05)

    async def work() -> None:
        files = OverlayFiles()
        await files.make([path])
        await files.write({path: IMAGE})
        with pytest.raises(VirError, match="not brought to the disk within"):
            await files.wait_durable()
        files.close()
        may_go_on.set()

    asyncio.run(work())
