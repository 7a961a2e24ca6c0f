"""What a pool's own process does with its folder."""

from __future__ import annotations

import os
import socket
import stat
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from ipc import Descriptor
from rpc.errors import ErrorCode, VirError
from supervisor.stord.pool_process.copy import copy_bytes, data_segments, punch_hole
from supervisor.stord.pool_process.messages import (
    AbortCreate,
    CommitFile,
    CopyRaw,
    CreateDirectoryVolume,
    CreateRaw,
    CreateRawVolume,
    FilePermissions,
    GetSpace,
    MakeDirectory,
    OpenVolume,
    Receive,
    Remove,
    RemoveLeftovers,
    Resize,
    Scan,
    Send,
    Stat,
    Wipe,
)
from supervisor.stord.pool_process.open_for_program import OpenForProgram
from supervisor.stord.pool_process.safe_open import open_volume
from supervisor.stord.pool_process.scan import VolumeScan
from supervisor.stord.pool_process.temporary_names import (
    host_tag,
    is_leftover,
    is_temporary,
    temporary_name,
)
from supervisor.stord.pool_process.transfer import VolumeTransfer
from supervisor.stord.pool_process.volume_data import VolumeData
from supervisor.stord.pool_process.volume_files import VolumeFiles

MIB = 1024 * 1024


def names(folder: Path) -> list[str]:
    return sorted(volume.name for volume in VolumeScan().scan(Scan(directory=str(folder))).volumes)


def test_a_folder_is_listed_without_what_is_no_volume(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(bytes(100))
    (tmp_path / "folder").mkdir()
    (tmp_path / temporary_name("host")).touch()
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for a writer
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "link").symlink_to("raw")
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(tmp_path / "socket"))
        assert names(tmp_path) == ["folder", "link", "raw"]


def test_names_that_no_document_can_hold_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "line\nbreak").touch()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe")).touch()
    (tmp_path / "ümläut").touch()
    assert names(tmp_path) == ["ümläut"]


def test_a_damaged_header_is_listed_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"QFI\xfb\0\0\0\x03" + b"\xff" * 200)
    assert names(tmp_path) == ["bad"]


def test_committed_file_gets_its_permissions_and_its_name(tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(b"x")
    order = CommitFile(
        directory=str(tmp_path),
        temporary_name="new",
        name="v",
        permissions=FilePermissions(mode=0o640),
    )
    VolumeFiles().commit_file(order)
    assert stat.S_IMODE((tmp_path / "v").stat().st_mode) == 0o640
    assert not (tmp_path / "new").exists()


def test_commit_never_replaces_an_existing_file(tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(b"new")
    (tmp_path / "v").write_bytes(b"old")
    order = CommitFile(
        directory=str(tmp_path), temporary_name="new", name="v", permissions=FilePermissions()
    )
    with pytest.raises(VirError) as refused:
        VolumeFiles().commit_file(order)
    assert refused.value.code is ErrorCode.STORAGE_VOL_EXIST
    VolumeFiles().abort_create(AbortCreate(directory=str(tmp_path), temporary_name="new"))
    assert (tmp_path / "v").read_bytes() == b"old"
    assert not (tmp_path / "new").exists()


def test_abort_after_an_unknown_commit_removes_the_renamed_file(tmp_path: Path) -> None:
    abort = AbortCreate(directory=str(tmp_path), temporary_name="new", name="v")
    (tmp_path / "v").write_bytes(b"renamed from new")
    VolumeFiles().abort_create(abort)
    assert not (tmp_path / "v").exists()


def test_abort_after_an_unknown_commit_removes_both_links_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(b"x")
    os.link(tmp_path / "new", tmp_path / "v")  # where the file system has no RENAME_NOREPLACE
    VolumeFiles().abort_create(AbortCreate(directory=str(tmp_path), temporary_name="new", name="v"))
    assert list(tmp_path.iterdir()) == []


def test_abort_keeps_what_has_the_name_since_before_the_creation(tmp_path: Path) -> None:
    (tmp_path / "v").write_bytes(b"another's")
    changed_ns = (tmp_path / "v").stat().st_ctime_ns
    abort = AbortCreate(directory=str(tmp_path), temporary_name="new", name="v")
    VolumeFiles().abort_create(replace(abort, since_ns=changed_ns + 1))
    assert (tmp_path / "v").read_bytes() == b"another's"
    VolumeFiles().abort_create(replace(abort, since_ns=changed_ns))
    assert not (tmp_path / "v").exists()


def test_a_raw_volume_that_cannot_have_its_name_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "v").write_bytes(b"old")
    file = CreateRaw(directory=str(tmp_path), temporary_name="new", capacity=512, allocation=0)
    order = CreateRawVolume(file=file, name="v", permissions=FilePermissions())
    with pytest.raises(VirError) as refused:
        VolumeFiles().create_raw_volume(order)
    assert refused.value.code is ErrorCode.STORAGE_VOL_EXIST
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_abort_before_the_rename_keeps_another_file_of_the_name(tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(b"x")
    (tmp_path / "v").write_bytes(b"old")
    VolumeFiles().abort_create(AbortCreate(directory=str(tmp_path), temporary_name="new", name="v"))
    assert [path.name for path in tmp_path.iterdir()] == ["v"]


def test_left_overs_of_this_host_alone_are_removed(tmp_path: Path) -> None:
    mine, theirs = temporary_name("me"), temporary_name("them")
    for name in (mine, theirs, "v"):
        (tmp_path / name).touch()
    planted = tmp_path / f"{mine[:-9]}-00000000"  # a folder of such a name keeps no other file
    planted.mkdir()
    VolumeFiles().remove_leftovers(
        RemoveLeftovers(directory=str(tmp_path), host_tag="me", pid=os.getpid())
    )
    assert (tmp_path / mine).exists()  # of this very process: it is at work
    VolumeFiles().remove_leftovers(
        RemoveLeftovers(directory=str(tmp_path), host_tag="me", pid=os.getpid() + 1)
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted((theirs, "v", planted.name))


def test_names_of_files_being_made_are_told_apart() -> None:
    name = temporary_name("aa")
    assert is_temporary(name)
    assert not is_temporary("volume.qcow2")
    assert is_leftover(name, "aa", os.getpid() + 1)
    assert not is_leftover(name, "ab", os.getpid() + 1)
    assert host_tag("/a") != host_tag("/b")


def test_a_pools_folder_and_its_volumes_that_are_folders(tmp_path: Path) -> None:
    path = tmp_path / "a/b"
    VolumeFiles().make_directory(
        MakeDirectory(path=str(path), permissions=FilePermissions(mode=0o750))
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    order = CreateDirectoryVolume(
        directory=str(path), name="d", permissions=FilePermissions(mode=0o700)
    )
    VolumeFiles().create_directory_volume(order)
    with pytest.raises(VirError):
        VolumeFiles().create_directory_volume(order)
    VolumeFiles().remove(Remove(directory=str(path), name="d"))
    VolumeFiles().remove(Remove(directory=str(path), name="d"))  # gone already: no error
    assert list(path.iterdir()) == []


def test_a_file_that_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    huge = 2**60
    order = CreateRaw(directory=str(tmp_path), temporary_name="new", capacity=huge, allocation=huge)
    with pytest.raises(VirError) as refused:
        VolumeData().create_raw(order)
    assert refused.value.code is ErrorCode.SYSTEM_ERROR
    assert list(tmp_path.iterdir()) == []


def test_a_refused_size_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "v").write_bytes(bytes(1000))
    with pytest.raises(VirError):
        VolumeData().resize(Resize(path=str(tmp_path / "v"), capacity=2**60, allocate=True))
    assert (tmp_path / "v").stat().st_size == 1000


def test_links_lead_only_inside_of_the_folder(tmp_path: Path) -> None:
    inside, outside = tmp_path / "pool/v", tmp_path / "secret"
    inside.parent.mkdir()
    inside.write_bytes(b"v")
    outside.write_bytes(b"secret")
    (tmp_path / "pool/near").symlink_to("v")
    (tmp_path / "pool/far").symlink_to(outside)
    (tmp_path / "pool/round").symlink_to("round")
    os.close(open_volume(str(tmp_path / "pool/near"), os.O_RDONLY))
    with pytest.raises(VirError, match="outside of its pool"):
        open_volume(str(tmp_path / "pool/far"), os.O_RDONLY)
    with pytest.raises((VirError, OSError)):
        open_volume(str(tmp_path / "pool/round"), os.O_RDONLY)
    with pytest.raises(VirError, match="neither a file nor"):
        open_volume(str(tmp_path / "pool"), os.O_RDONLY)


def test_a_wiped_sparse_file_stays_sparse(tmp_path: Path) -> None:
    path = tmp_path / "v"
    with path.open("wb") as file:
        file.seek(MIB)
        file.write(b"x" * 4096)
        file.truncate(16 * MIB)
    VolumeData().wipe(Wipe(path=str(path)))
    assert path.stat().st_size == 16 * MIB
    assert path.stat().st_blocks == 0


def test_copies_keep_holes_and_bytes(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    with source.open("wb") as file:
        for at in (0, 3 * MIB, 9 * MIB):
            file.seek(at)
            file.write(os.urandom(70_000))
        file.truncate(12 * MIB + 5)
    with source.open("rb") as left, target.open("wb") as right:
        copy_bytes(left.fileno(), right.fileno(), 12 * MIB + 5, keep_holes=True)
        os.ftruncate(right.fileno(), 12 * MIB + 5)
        assert len(list(data_segments(left.fileno(), 0, 12 * MIB))) == 3
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_blocks * 512 < MIB


def test_a_punched_hole_reads_as_zeros(tmp_path: Path) -> None:
    path = tmp_path / "v"
    path.write_bytes(b"x" * MIB)
    with path.open("r+b") as file:
        punch_hole(file.fileno(), 4096, 8192)
    assert path.read_bytes()[4096:12288] == bytes(8192)
    assert path.read_bytes()[12288:] == b"x" * (MIB - 12288)


@pytest.mark.parametrize("sparse", [False, True])
def test_what_is_sent_is_what_is_received(tmp_path: Path, *, sparse: bool) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    with source.open("wb") as file:
        file.write(os.urandom(MIB))
        file.seek(5 * MIB)
        file.write(os.urandom(MIB))
        file.truncate(8 * MIB)
    target.write_bytes(b"former contents" * MIB)
    ours, theirs = socket.socketpair()
    order = Send(
        path=str(source), descriptor=Descriptor(ours.detach()), offset=0, length=0, sparse=sparse
    )
    sender = threading.Thread(target=VolumeTransfer().send, args=(order,))
    sender.start()
    taken = Receive(
        path=str(target), descriptor=Descriptor(theirs.detach()), offset=0, length=0, sparse=sparse
    )
    VolumeTransfer().receive(taken)
    sender.join(20)
    assert target.read_bytes()[: 8 * MIB] == source.read_bytes()


def test_more_than_was_announced_is_refused(tmp_path: Path) -> None:
    (tmp_path / "v").write_bytes(bytes(100))
    ours, theirs = socket.socketpair()
    ours.sendall(b"x" * 50)
    ours.shutdown(socket.SHUT_WR)
    order = Receive(
        path=str(tmp_path / "v"), descriptor=Descriptor(theirs.detach()), offset=0, length=10
    )
    with pytest.raises(VirError, match="longer than its length"):
        VolumeTransfer().receive(order)
    ours.close()


def test_a_volume_that_has_gone_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(VirError) as missing:
        VolumeScan().stat(Stat(directory=str(tmp_path), name="gone"))
    assert missing.value.code is ErrorCode.NO_STORAGE_VOL


def test_permissions_never_go_to_what_a_link_leads_to(tmp_path: Path) -> None:
    folder, outside = tmp_path / "pool", tmp_path / "outside"
    folder.mkdir()
    outside.touch(mode=0o600)
    planted = folder / temporary_name("host")  # put there while the volume was being made
    planted.symlink_to(outside)
    order = CommitFile(
        directory=str(folder),
        temporary_name=planted.name,
        name="v",
        permissions=FilePermissions(mode=0o666),
    )
    with pytest.raises(VirError, match="Too many levels of symbolic links"):
        VolumeFiles().commit_file(order)
    VolumeFiles().abort_create(
        AbortCreate(directory=str(folder), temporary_name=planted.name, name="v")
    )
    assert outside.stat().st_mode & 0o777 == 0o600
    assert list(folder.iterdir()) == []


def test_a_copy_goes_to_no_place_that_somebody_else_has_prepared(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    (tmp_path / "source").write_bytes(b"theirs")
    (tmp_path / "target").symlink_to(outside)
    for is_new, links_to in ((True, outside), (False, Path("/etc/hostname"))):
        (tmp_path / "target").unlink()
        (tmp_path / "target").symlink_to(links_to)
        order = CopyRaw(
            source=str(tmp_path / "source"), target=str(tmp_path / "target"), size=6, is_new=is_new
        )
        with pytest.raises(VirError):
            VolumeData().copy_raw(order)
    assert outside.read_bytes() == b"mine"


def test_a_program_is_lent_a_volume_never_what_a_link_leads_to(tmp_path: Path) -> None:
    folder, outside = tmp_path / "pool", tmp_path / "outside"
    folder.mkdir()
    outside.write_bytes(b"mine")
    (folder / "trap").symlink_to(outside)
    with pytest.raises(VirError) as refused:
        OpenForProgram().open_volume(
            OpenVolume(path=str(folder / "trap"), format="qcow2", writable=True)
        )
    assert refused.value.code == ErrorCode.OPERATION_DENIED
    (folder / "raw").write_bytes(b"theirs")
    lent = OpenForProgram().open_volume(
        OpenVolume(path=str(folder / "raw"), format="raw", writable=False)
    )
    os.rename(outside, folder / "raw")  # too late
    fd = lent.descriptor.take()
    try:
        assert os.read(fd, 10) == b"theirs"
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(fd, b"x")
    finally:
        os.close(fd)


def test_a_committed_file_is_described_with_the_space_that_is_left(tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(bytes(1024))
    order = CommitFile(
        directory=str(tmp_path), temporary_name="new", name="v", permissions=FilePermissions()
    )
    made = VolumeFiles().commit_file(order)
    assert (made.volume.name, made.volume.capacity) == ("v", 1024)
    assert made.space is not None
    space = VolumeScan().get_space(GetSpace(directory=str(tmp_path)))
    assert made.space.capacity == space.capacity


def test_a_raw_file_is_as_large_as_what_is_allocated(tmp_path: Path) -> None:
    order = CreateRaw(directory=str(tmp_path), temporary_name="new", capacity=512, allocation=65536)
    VolumeData().create_raw(order)
    assert (tmp_path / "new").stat().st_size == 65536  # as libvirt makes it
