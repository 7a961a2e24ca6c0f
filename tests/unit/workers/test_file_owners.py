"""Files belong to QEMU's user while guests use them, and to their previous owners afterwards."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from pathlib import Path

import pytest

from rpc.errors import VirError
from supervisor.objects.domain_status_xml import Owner
from supervisor.runtime.emulator_user import User
from supervisor.workers import access_lists, owner_attributes, previous_owners
from supervisor.workers.file_owners import ChownedFile, chown_for_guest, restore
from supervisor.workers.previous_owners import PreviousOwners, is_shared_file_system

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may change owners")

QEMU = User(64055, 64056, "")
ALICE = (1001, 1002)


class Guests:
    """Domains of one host, and which of them are active."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.active = {"web", "mail"}

    def of(self, name: str) -> PreviousOwners:
        return PreviousOwners(self.folder / "owners", name, self.active.__contains__)


@pytest.fixture
def guests(tmp_path: Path) -> Guests:
    return Guests(tmp_path)


def image(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(b"data")
    os.chown(path, *ALICE)
    return path


def owner_of(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_uid, status.st_gid


async def test_every_image_of_a_chain_gets_its_owner_back(tmp_path: Path, guests: Guests) -> None:
    top, base = image(tmp_path, "top"), image(tmp_path, "base")
    files = [ChownedFile(str(top)), ChownedFile(str(base), shared=True)]
    owners = await chown_for_guest(files, QEMU, guests.of("web"))
    assert owner_of(top) == owner_of(base) == (QEMU.uid, QEMU.gid)
    await restore(owners, guests.of("web"))
    assert owner_of(top) == owner_of(base) == ALICE
    assert not list((tmp_path / "owners").glob("*.json"))


async def test_a_base_that_another_guest_uses_is_given_back_with_the_last(
    tmp_path: Path, guests: Guests
) -> None:
    base = ChownedFile(str(image(tmp_path, "base")), shared=True)
    first = await chown_for_guest([base], QEMU, guests.of("web"))
    second = await chown_for_guest([base], QEMU, guests.of("mail"))
    await restore(first, guests.of("web"))
    assert owner_of(Path(base.path)) == (QEMU.uid, QEMU.gid)
    await restore(second, guests.of("mail"))
    assert owner_of(Path(base.path)) == ALICE


async def test_a_user_of_the_file_that_does_not_run_any_more_does_not_keep_it(
    tmp_path: Path, guests: Guests
) -> None:
    base = ChownedFile(str(image(tmp_path, "base")), shared=True)
    await chown_for_guest([base], QEMU, guests.of("mail"))
    owners = await chown_for_guest([base], QEMU, guests.of("web"))
    guests.active.discard("mail")
    await restore(owners, guests.of("web"))
    assert owner_of(Path(base.path)) == ALICE


async def test_a_worker_finds_what_its_predecessor_took_before_it_died(
    tmp_path: Path, guests: Guests
) -> None:
    disk = image(tmp_path, "disk")
    await chown_for_guest([ChownedFile(str(disk))], QEMU, guests.of("web"))
    assert guests.of("mail").own() == []
    await restore(guests.of("web").own(), guests.of("web"))
    assert owner_of(disk) == ALICE


async def test_a_start_that_cannot_have_a_file_gives_the_others_back(
    tmp_path: Path, guests: Guests, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, other = image(tmp_path, "disk"), image(tmp_path, "other")
    change = os.chown

    def refuse(path: str, uid: int, gid: int) -> None:
        if uid == QEMU.uid and os.path.samefile(path, other):
            raise PermissionError(1, "Operation not permitted", path)
        change(path, uid, gid)

    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(Exception, match=f"unable to set user and group of '{other}'"):
        await chown_for_guest(
            [ChownedFile(str(disk)), ChownedFile(str(other))], QEMU, guests.of("web")
        )
    assert owner_of(disk) == ALICE


async def test_no_other_file_is_given_to_the_previous_owner(tmp_path: Path, guests: Guests) -> None:
    disk, victim = image(tmp_path, "disk"), tmp_path / "shadow"
    victim.write_text("root's")
    owners = await chown_for_guest([ChownedFile(str(disk))], QEMU, guests.of("web"))
    disk.unlink()
    disk.symlink_to(victim)  # as a guest that took QEMU over could
    await restore(owners, guests.of("web"))
    assert owner_of(victim) == (0, 0)


async def test_without_memory_files_become_roots(tmp_path: Path) -> None:
    disk = image(tmp_path, "disk")
    owners = PreviousOwners(tmp_path / "owners", "web", lambda name: True, remembers=False)
    await restore(await chown_for_guest([ChownedFile(str(disk))], QEMU, owners), owners)
    assert owner_of(disk) == (0, 0)


async def test_a_file_that_is_qemus_already_stays_qemus(tmp_path: Path, guests: Guests) -> None:
    disk = image(tmp_path, "disk")
    os.chown(disk, QEMU.uid, QEMU.gid)
    assert await chown_for_guest([ChownedFile(str(disk))], QEMU, guests.of("web")) == []


async def test_a_shared_file_that_other_hosts_may_use_stays_qemus(
    tmp_path: Path, guests: Guests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previous_owners, "is_shared_file_system", lambda device: True)
    top, base = image(tmp_path, "top"), image(tmp_path, "base")
    files = [ChownedFile(str(top)), ChownedFile(str(base), shared=True)]
    await restore(await chown_for_guest(files, QEMU, guests.of("web")), guests.of("web"))
    assert owner_of(top) == ALICE
    assert owner_of(base) == (QEMU.uid, QEMU.gid)


def test_file_systems_of_several_hosts_are_known(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 0:45 / /srv rw,relatime shared:1 - nfs4 host:/srv rw,vers=4.2\n"
        "23 1 8:1 / / rw,relatime shared:2 - ext4 /dev/sda1 rw\n"
    )
    assert is_shared_file_system(os.makedev(0, 45), mounts)
    assert not is_shared_file_system(os.makedev(8, 1), mounts)
    assert not is_shared_file_system(os.makedev(9, 9), mounts)


async def test_an_owner_that_an_earlier_version_recorded_is_restored(
    tmp_path: Path, guests: Guests
) -> None:
    disk = image(tmp_path, "disk")
    await restore([Owner(str(disk), 0, 0)], guests.of("web"))
    assert owner_of(disk) == (0, 0)


async def test_waiting_for_another_workers_lock_holds_up_no_other_call(
    tmp_path: Path, guests: Guests
) -> None:
    disk = image(tmp_path, "disk")
    folder = tmp_path / "owners"
    folder.mkdir()
    with (folder / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        taking = asyncio.create_task(
            chown_for_guest([ChownedFile(str(disk))], QEMU, guests.of("web"))
        )
        for _ in range(10):  # the loop goes round while the lock is another's
            await asyncio.sleep(0)
        assert not taking.done()
        assert owner_of(disk) == ALICE
    await taking
    assert owner_of(disk) == (QEMU.uid, QEMU.gid)


async def test_a_lock_that_never_comes_free_is_a_refusal_that_names_it(
    tmp_path: Path, guests: Guests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previous_owners, "LOCK_S", 0.0)
    disk = image(tmp_path, "disk")
    folder = tmp_path / "owners"
    folder.mkdir()
    with (folder / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(VirError, match="timed out"):
            await chown_for_guest([ChownedFile(str(disk))], QEMU, guests.of("web"))
    assert owner_of(disk) == ALICE


# A user for each guest.

FIRST = User(5001, 5001, "", groups=(5001,), is_dynamic=True)
SECOND = User(5002, 5002, "", groups=(5002,), is_dynamic=True)


def named_users(path: Path) -> set[int]:
    """Whom the access control list of a file names."""
    try:
        entries = access_lists.parse(os.getxattr(path, access_lists.ATTRIBUTE))
    except OSError:
        return set()
    return {entry.id for entry in entries if entry.tag is access_lists.Tag.USER}


async def test_a_guests_own_image_is_closed_to_others_while_it_runs(
    tmp_path: Path, guests: Guests
) -> None:
    disk = image(tmp_path, "disk")
    disk.chmod(0o644)
    owners = await chown_for_guest([ChownedFile(str(disk))], FIRST, guests.of("web"))
    assert owner_of(disk) == (5001, 5001)
    assert disk.stat().st_mode & 0o777 == 0o640
    await restore(owners, guests.of("web"))
    assert owner_of(disk) == ALICE
    assert disk.stat().st_mode & 0o777 == 0o644


async def test_an_image_that_guests_share_keeps_its_owner_and_lets_each_of_them_in(
    tmp_path: Path, guests: Guests
) -> None:
    base = image(tmp_path, "base")
    base.chmod(0o600)
    file = ChownedFile(str(base), shared=True, writable=False)
    first = await chown_for_guest([file], FIRST, guests.of("web"))
    second = await chown_for_guest([file], SECOND, guests.of("mail"))
    assert owner_of(base) == ALICE
    assert named_users(base) == {5001, 5002}
    await restore(first, guests.of("web"))
    assert named_users(base) == {5002}
    await restore(second, guests.of("mail"))
    assert named_users(base) == set()
    assert base.stat().st_mode & 0o777 == 0o600
    assert not list((tmp_path / "owners").glob("*.json"))


async def test_an_image_that_everybody_may_read_is_left_alone(
    tmp_path: Path, guests: Guests
) -> None:
    base = image(tmp_path, "base")
    base.chmod(0o644)
    file = ChownedFile(str(base), shared=True, writable=False)
    assert await chown_for_guest([file], FIRST, guests.of("web")) == []
    assert named_users(base) == set()
    shareable = ChownedFile(str(base), shared=True)
    assert len(await chown_for_guest([shareable], FIRST, guests.of("web"))) == 1
    assert named_users(base) == {5001}


async def test_an_image_that_another_guest_writes_is_refused(
    tmp_path: Path, guests: Guests
) -> None:
    disk, more = ChownedFile(str(image(tmp_path, "disk"))), ChownedFile(str(image(tmp_path, "m")))
    await chown_for_guest([disk], FIRST, guests.of("web"))
    with pytest.raises(VirError, match=r"DAC user or group on .* already in use"):
        await chown_for_guest([more, disk], SECOND, guests.of("mail"))
    assert owner_of(Path(disk.path)) == (5001, 5001)
    assert owner_of(Path(more.path)) == ALICE
    guests.active = {"mail"}  # the first has ended, and its worker with it
    await chown_for_guest([disk], SECOND, guests.of("mail"))
    assert owner_of(Path(disk.path)) == (5002, 5002)


async def test_a_file_system_without_access_control_lists_is_told(
    tmp_path: Path, guests: Guests, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = image(tmp_path, "base")
    base.chmod(0o600)

    def grant(fd: int, uid: int, permissions: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(access_lists, "grant", grant)
    file = ChownedFile(str(base), shared=True, writable=False)
    with pytest.raises(VirError, match="has no access control lists; let others read it"):
        await chown_for_guest([file], FIRST, guests.of("web"))
    assert not list((tmp_path / "owners").glob("*.json"))


async def test_a_worker_that_died_leaves_a_list_that_the_next_one_cleans(
    tmp_path: Path, guests: Guests
) -> None:
    base = image(tmp_path, "base")
    base.chmod(0o600)
    file = ChownedFile(str(base), shared=True, writable=False)
    await chown_for_guest([file], FIRST, guests.of("web"))
    successor = guests.of("web")
    await restore(successor.own(), successor)
    assert named_users(base) == set()


async def test_libvirts_daemon_finds_the_owner_of_a_guests_own_image(
    tmp_path: Path, guests: Guests
) -> None:
    top, base = image(tmp_path, "top"), image(tmp_path, "base")
    files = [ChownedFile(str(top)), ChownedFile(str(base), shared=True)]
    owners = await chown_for_guest(files, QEMU, guests.of("web"))
    if not os.listxattr(top):
        pytest.skip("the file system of /tmp has no trusted attributes")
    assert owner_attributes.remembered(str(top)) == ALICE
    assert os.listxattr(base) == []  # others may use it, of whom nobody knows
    await restore(owners, guests.of("web"))
    assert os.listxattr(top) == []


async def test_a_file_that_another_daemon_gave_to_qemu_is_given_back_with_the_last_guest(
    tmp_path: Path, guests: Guests
) -> None:
    path = image(tmp_path, "shared")
    status = path.stat()
    owner = Owner(str(path), *ALICE, status.st_dev, status.st_ino)
    os.chown(path, QEMU.uid, QEMU.gid)
    await guests.of("web").adopt(owner)
    await guests.of("mail").adopt(owner)
    await restore([owner], guests.of("web"))
    assert owner_of(path) == (QEMU.uid, QEMU.gid)
    await restore([owner], guests.of("mail"))
    assert owner_of(path) == ALICE
