"""Files that consoles open and start: none that a guest or QEMU's user has put in its place."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from conf.domain.devices.chardev import CharDevice
from rpc.errors import ErrorCode, VirError
from supervisor.workers.qemu.calls.consoles import open_device
from supervisor.workers.qemu.outputs import open_output


async def test_a_pty_is_opened() -> None:
    master, slave = os.openpty()
    path = os.ttyname(slave)
    fd = await open_device(CharDevice(type="pty"), path, os.getpid())
    assert os.ttyname(fd) == path
    for end in (fd, master, slave):
        os.close(end)


async def test_what_is_no_pty_is_not_opened_as_one(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    link = tmp_path / "link"
    link.symlink_to("/dev/null")
    for path in (secret, link, Path("/dev/null")):
        with pytest.raises(VirError) as refused:
            await open_device(CharDevice(type="pty"), str(path), os.getpid())
        assert refused.value.code is ErrorCode.SYSTEM_ERROR


def test_an_output_is_emptied_unless_it_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "serial.log"
    for append, expected in ((False, ""), (True, "old")):
        path.write_text("old")
        with contextlib.ExitStack() as closing:
            open_output(str(path), append=append, closing=closing)
        assert path.read_text() == expected


def test_an_output_that_is_a_link_is_refused_and_its_target_kept(tmp_path: Path) -> None:
    target = tmp_path / "shadow"
    target.write_text("root:x")
    link = tmp_path / "serial.log"
    link.symlink_to(target)
    with contextlib.ExitStack() as closing, pytest.raises(VirError, match="unable to open file"):
        open_output(str(link), append=False, closing=closing)
    assert target.read_text() == "root:x"
