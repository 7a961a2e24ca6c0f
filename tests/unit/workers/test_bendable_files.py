"""What stands where QEMU's user could have put it is neither read nor given away."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.runtime.emulator_user import User
from supervisor.workers.bendable_files import (
    give_socket,
    make_private_folder,
    open_plain_file,
    open_unread,
    replace_file,
)
from supervisor.workers.unix_sockets import connect, listen

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may change owners")

QEMU = User(64055, 64055, "")


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file of root's, which must stay as it is."""
    path = tmp_path / "shadow"
    path.write_text("root:x")
    path.chmod(0o600)
    return path


def is_untouched(victim: Path) -> bool:
    status = victim.stat()
    return victim.read_text() == "root:x" and (status.st_uid, status.st_mode & 0o777) == (0, 0o600)


def link(folder: Path, target: Path, owner: int = QEMU.uid) -> Path:
    """A link as QEMU's user would make it."""
    path = folder / "link"
    path.symlink_to(target)
    os.chown(path, owner, owner, follow_symlinks=False)
    return path


def test_a_folder_is_qemus_alone(tmp_path: Path) -> None:
    folder = tmp_path / "domain-1-web"
    for _ in range(2):  # one is left of a start that was killed
        make_private_folder(folder, QEMU, 0o750)
        status = folder.stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (64055, 64055, 0o750)


def test_a_link_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir(mode=0o755)
    with pytest.raises(OSError, match="Not a directory"):
        make_private_folder(link(tmp_path, other), QEMU, 0o750)
    assert other.stat().st_uid == 0


def test_a_link_in_place_of_a_file_that_is_written_is_replaced(
    tmp_path: Path, victim: Path
) -> None:
    key = tmp_path / "master-key.aes"
    key.symlink_to(victim)
    (tmp_path / ".master-key.aes.new").symlink_to(victim)
    replace_file(key, b"secret", QEMU)
    assert is_untouched(victim)
    assert not key.is_symlink()
    assert key.read_bytes() == b"secret"
    assert (key.stat().st_uid, key.stat().st_mode & 0o777) == (64055, 0o600)


def test_only_a_plain_file_is_read(tmp_path: Path, victim: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (link(tmp_path, victim), fifo, tmp_path):
        with pytest.raises(OSError, match=r"symbolic links|no plain file"):
            open_plain_file(path)
    os.close(open_plain_file(victim))


def test_a_socket_is_given_and_not_what_a_link_names(tmp_path: Path, victim: Path) -> None:
    path = tmp_path / "monitor.sock"
    with listen(path):
        assert path.stat().st_mode & 0o777 == 0o600
        give_socket(path, QEMU)
        assert path.stat().st_uid == QEMU.uid
    give_socket(link(tmp_path, victim), QEMU)
    assert is_untouched(victim)


async def test_a_link_to_another_daemons_socket_is_not_connected_to(tmp_path: Path) -> None:
    with listen(tmp_path / "docker.sock"):
        with pytest.raises(OSError, match="non-socket"):
            await connect(link(tmp_path, tmp_path / "docker.sock"))
        (await connect(tmp_path / "docker.sock")).close()


def test_a_link_of_an_administrator_is_followed_and_none_of_qemus_user(
    tmp_path: Path, victim: Path
) -> None:
    image = link(tmp_path, victim, owner=0)
    fd = open_unread(str(image), QEMU)
    assert os.path.samestat(os.fstat(fd), victim.stat())
    os.close(fd)
    os.chown(image, QEMU.uid, QEMU.gid, follow_symlinks=False)
    with pytest.raises(OSError, match="QEMU's user has made"):
        open_unread(str(image), QEMU)


def test_links_in_a_ring_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        open_unread(str(tmp_path / "a"), QEMU)
