"""What the daemon trusts is in folders that QEMU's user cannot write to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.root.folders import let_search, take_folders
from supervisor.runtime.paths import Paths

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may change owners")

QEMU = 64055


def owner_and_mode(folder: Path) -> tuple[int, int, int]:
    status = folder.stat()
    return status.st_uid, status.st_gid, status.st_mode & 0o777


def test_folders_that_libvirt_gave_to_qemu_become_roots(tmp_path: Path) -> None:
    lib = tmp_path / "var/lib/libvirt/qemu"
    for name, mode in (("", 0o750), ("save", 0o700), ("nvram", 0o775), ("domain-1-web", 0o750)):
        (lib / name).mkdir(parents=True, exist_ok=True)
        (lib / name).chmod(mode)
        os.chown(lib / name, QEMU, QEMU)
    image = lib / "nvram/web_VARS.fd"
    image.touch()
    os.chown(image, QEMU, QEMU)
    for _ in range(2):
        take_folders(Paths.system(tmp_path))
        assert owner_and_mode(lib) == (0, 0, 0o751)  # QEMU reaches what is its own below
        assert owner_and_mode(lib / "save") == (0, 0, 0o700)
        assert owner_and_mode(lib / "nvram") == (0, 0, 0o755)
    assert owner_and_mode(lib / "domain-1-web") == (QEMU, QEMU, 0o750)
    assert image.stat().st_uid == QEMU


def test_a_link_in_place_of_a_folder_is_left_with_what_it_names(tmp_path: Path) -> None:
    lib = tmp_path / "var/lib/libvirt/qemu"
    lib.mkdir(parents=True)
    other = tmp_path / "other"
    other.mkdir()
    os.chown(other, QEMU, QEMU)
    (lib / "save").symlink_to(other)
    take_folders(Paths.system(tmp_path))
    assert other.stat().st_uid == QEMU


def test_a_host_without_the_folders_is_left_alone(tmp_path: Path) -> None:
    take_folders(Paths.system(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_private_folder_of_root_may_be_searched_and_not_read(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    for _ in range(2):
        let_search(tmp_path)
        assert owner_and_mode(tmp_path)[2] == 0o711
    let_search(tmp_path / "missing")  # it is logged
