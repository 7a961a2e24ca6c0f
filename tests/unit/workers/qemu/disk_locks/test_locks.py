"""Locks of files, as the kernel has them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rpc.errors import ErrorCode, VirError
from supervisor.workers.qemu.disk_locks.locks import is_held, take
from supervisor.workers.qemu.disk_locks.resources import LockResource


@contextlib.contextmanager
def taken(resource: LockResource) -> Iterator[int]:
    descriptor = take(resource)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(b"bytes")
    return path


def refused(resource: LockResource) -> VirError:
    with pytest.raises(VirError) as error:
        take(resource)
    return error.value


def test_a_file_is_locked_for_one_or_for_all_who_share_it(image: Path) -> None:
    alone = LockResource(str(image), "name")
    shared = LockResource(str(image), "name", shared=True)
    with taken(alone):
        for other in (alone, shared):
            error = refused(other)
            assert error.code is ErrorCode.RESOURCE_BUSY
            assert "Lockspace resource 'name' is locked" in str(error)
    with taken(shared), taken(shared):
        assert refused(alone).code is ErrorCode.RESOURCE_BUSY
    assert image.read_bytes() == b"bytes"


def test_a_lock_belongs_to_who_has_the_descriptor(image: Path) -> None:
    resource = LockResource(str(image), "name")
    descriptor = take(resource)
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[descriptor]) as holder:
        os.close(descriptor)
        assert refused(resource).code is ErrorCode.RESOURCE_BUSY
        assert is_held(resource, holder.pid)
        assert not is_held(resource, os.getpid())
        holder.kill()
    with taken(resource):
        pass
    assert not is_held(LockResource(str(image.with_name("none")), "n"), os.getpid())


def test_only_lock_files_are_made(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "locks"
    with taken(LockResource(str(folder / "x"), "x", folder=str(folder), is_created=True)):
        assert (folder / "x").exists()
    assert folder.stat().st_mode & 0o777 == 0o700
    error = refused(LockResource(str(folder / "lease"), "lease", folder=str(folder)))
    assert error.code is ErrorCode.SYSTEM_ERROR
    (tmp_path / "file").touch()
    assert "not a directory" in str(
        refused(LockResource(str(tmp_path / "file/x"), "x", folder=str(tmp_path / "file")))
    )
