"""The journal of changes: what survives a loss of power, a crash, a full disk."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from supervisor.objects import change_journal
from supervisor.objects.change_journal import BLOCK, SIZE, ChangeJournal
from supervisor.runtime.atomic_file import swap_file

FILE = "lib/changes"


def lose_power(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_journal, "boot_id", lambda: "the next boot")


def recover(folder: Path) -> None:
    journal = ChangeJournal(folder, folder / FILE)
    journal.recover()
    journal.close()


@pytest.fixture
def journal(tmp_path: Path) -> ChangeJournal:
    for name in ("a.xml", "b.xml"):
        (tmp_path / name).write_bytes(b"old")
    return ChangeJournal(tmp_path, tmp_path / FILE)


def test_a_change_is_in_its_file_at_once(journal: ChangeJournal, tmp_path: Path) -> None:
    journal.replace("a.xml", b"new")
    assert (tmp_path / "a.xml").read_bytes() == b"new"
    assert (tmp_path / "a.xml").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("left", [b"old", b"", b"\0\0\0"])
def test_what_a_loss_of_power_took_is_written_again(
    journal: ChangeJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: bytes
) -> None:
    journal.replace("a.xml", b"first")
    journal.replace("b.xml", b"other" * 3000)
    journal.replace("a.xml", b"last")
    for name in ("a.xml", "b.xml"):
        (tmp_path / name).write_bytes(left)
    lose_power(monkeypatch)
    recover(tmp_path)
    assert (tmp_path / "a.xml").read_bytes() == b"last"
    assert (tmp_path / "b.xml").read_bytes() == b"other" * 3000


def test_settled_changes_are_not_written_again(
    journal: ChangeJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.replace("a.xml", b"new")
    assert journal.settle()
    (tmp_path / "a.xml").unlink()
    lose_power(monkeypatch)
    recover(tmp_path)
    assert not (tmp_path / "a.xml").exists()


def test_a_change_that_comes_while_the_disk_syncs_is_kept(
    journal: ChangeJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.replace("a.xml", b"new")
    sync = os.fsync

    def change_meanwhile(fd: int) -> None:
        monkeypatch.setattr(os, "fsync", sync)
        sync(fd)
        journal.replace("b.xml", b"newer")

    monkeypatch.setattr(os, "fsync", change_meanwhile)
    assert not journal.settle()
    (tmp_path / "b.xml").write_bytes(b"old")
    lose_power(monkeypatch)
    recover(tmp_path)
    assert (tmp_path / "b.xml").read_bytes() == b"newer"


def test_within_one_boot_a_file_stays_as_its_editor_left_it(
    journal: ChangeJournal, tmp_path: Path
) -> None:
    journal.replace("a.xml", b"new")
    (tmp_path / "a.xml").write_bytes(b"edited")
    recover(tmp_path)
    assert (tmp_path / "a.xml").read_bytes() == b"edited"


def test_what_a_process_died_before_is_done_within_one_boot_too(
    journal: ChangeJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> None:
        raise SystemExit

    long_ago = time.time_ns() - 10**9
    for name in ("a.xml", "b.xml"):
        os.utime(tmp_path / name, ns=(long_ago, long_ago))
    with monkeypatch.context() as killed:
        swap = swap_file
        first = iter([swap])
        killed.setattr(change_journal, "swap_file", lambda *a, **k: next(first, die)(*a, **k))
        with pytest.raises(SystemExit):
            journal.replace_all({"a.xml": b"new", "b.xml": b"newer", "c.xml": b"newest"})
    recover(tmp_path)
    assert [(tmp_path / name).read_bytes() for name in ("a.xml", "b.xml")] == [b"new", b"newer"]
    assert not (tmp_path / "c.xml").exists()  # nobody was told that it is there


def test_a_file_that_was_edited_later_stays_so_after_a_loss_of_power(
    journal: ChangeJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon was killed, and libvirt's changed the definition before the host went down."""
    journal.replace("a.xml", b"new")
    (tmp_path / "a.xml").write_bytes(b"edited")
    later = time.time_ns() + 2 * change_journal.WRITTEN_NS
    os.utime(tmp_path / "a.xml", ns=(later, later))
    lose_power(monkeypatch)
    recover(tmp_path)
    assert (tmp_path / "a.xml").read_bytes() == b"edited"


def test_a_record_that_is_not_whole_is_ignored(
    journal: ChangeJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.replace("a.xml", b"new")
    journal.replace("b.xml", b"newer")
    with (tmp_path / FILE).open("r+b") as file:
        file.seek(2 * BLOCK + 50)
        file.write(b"?")
    for name in ("a.xml", "b.xml"):
        (tmp_path / name).write_bytes(b"old")
    lose_power(monkeypatch)
    recover(tmp_path)
    assert (tmp_path / "a.xml").read_bytes() == b"new"
    assert (tmp_path / "b.xml").read_bytes() == b"old"


def test_a_full_journal_is_settled(journal: ChangeJournal, tmp_path: Path) -> None:
    for number in range(SIZE // BLOCK + 2):
        journal.replace("a.xml", f"{number}".encode())
    journal.replace("b.xml", b"x" * SIZE)
    assert (tmp_path / "b.xml").stat().st_size == SIZE
    assert (tmp_path / FILE).stat().st_size == SIZE


def test_the_change_that_found_the_journal_full_survives_a_loss_of_power(
    journal: ChangeJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(SIZE // BLOCK):  # one more than it takes beside its header
        journal.replace("a.xml", f"{number}".encode())
    (tmp_path / "a.xml").write_bytes(b"old")
    lose_power(monkeypatch)
    recover(tmp_path)
    assert (tmp_path / "a.xml").read_bytes() == f"{SIZE // BLOCK - 1}".encode()


def test_changes_of_long_ago_do_not_come_back_after_a_damaged_header(
    journal: ChangeJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.replace("b.xml", b"long ago")
    journal.replace("b.xml", b"a little later")
    assert journal.settle()
    journal.close()
    with (tmp_path / FILE).open("r+b") as file:
        file.write(b"?" * BLOCK)  # the host went down while it was written
    again = ChangeJournal(tmp_path, tmp_path / FILE)
    again.replace("a.xml", b"new")
    (tmp_path / "b.xml").write_bytes(b"edited")
    os.utime(tmp_path / "b.xml", ns=(0, 0))
    lose_power(monkeypatch)
    recover(tmp_path)
    assert (tmp_path / "b.xml").read_bytes() == b"edited"


def test_a_change_that_fits_no_journal_is_written_durably_and_once(
    journal: ChangeJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[bool] = []

    def record(*_: object, durable: bool = True, **__: object) -> None:
        written.append(durable)

    monkeypatch.setattr(change_journal, "write_file", record)
    journal.replace("a.xml", b"x" * SIZE)
    assert written == [True]


def test_a_refused_change_does_not_come_back(
    journal: ChangeJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(change_journal, "swap_file", refuse)
        with pytest.raises(OSError, match="No space"):
            journal.replace("a.xml", b"refused")
    lose_power(monkeypatch)
    recover(tmp_path)
    assert (tmp_path / "a.xml").read_bytes() == b"old"


def test_without_a_journal_a_file_is_replaced_durably(
    journal: ChangeJournal, tmp_path: Path
) -> None:
    (tmp_path / FILE).mkdir(parents=True)
    journal.replace("a.xml", b"new")
    assert (tmp_path / "a.xml").read_bytes() == b"new"
    assert journal.settle()


def test_any_bytes_are_no_journal(journal: ChangeJournal, tmp_path: Path) -> None:
    (tmp_path / FILE).parent.mkdir()
    (tmp_path / FILE).write_bytes(os.urandom(SIZE))
    recover(tmp_path)
    journal.replace("a.xml", b"new")
    assert journal.settle()


def test_files_of_other_folders_that_were_made_are_made_again(
    journal: ChangeJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "snapshots/web").mkdir(parents=True)
    one, other = (tmp_path / "snapshots/web" / name for name in ("s1.xml", "s2.xml"))
    journal.replace_all({str(one): b"one" * 2000, str(other): b"other"})
    assert other.read_bytes() == b"other"
    for path in (one, other):
        path.unlink()
    lose_power(monkeypatch)
    recover(tmp_path)
    assert one.read_bytes() == b"one" * 2000
    assert other.read_bytes() == b"other"


def test_a_folder_that_was_removed_since_does_not_come_back(
    journal: ChangeJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "snapshots").mkdir()
    journal.replace_all({str(tmp_path / "snapshots/s1.xml"): b"s1"})
    journal.replace("a.xml", b"new")
    (tmp_path / "snapshots/s1.xml").unlink()
    (tmp_path / "snapshots").rmdir()
    (tmp_path / "a.xml").write_bytes(b"old")
    lose_power(monkeypatch)
    recover(tmp_path)
    assert not (tmp_path / "snapshots").exists()
    assert (tmp_path / "a.xml").read_bytes() == b"new"


def test_of_several_changes_a_loss_of_power_leaves_the_first_ones(
    journal: ChangeJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.replace_all({"a.xml": b"new", "b.xml": b"newer"})
    with (tmp_path / FILE).open("r+b") as file:
        file.seek(2 * BLOCK)
        file.write(bytes(BLOCK))
    for name in ("a.xml", "b.xml"):
        (tmp_path / name).write_bytes(b"old")
    lose_power(monkeypatch)
    recover(tmp_path)
    assert [(tmp_path / name).read_bytes() for name in ("a.xml", "b.xml")] == [b"new", b"old"]


def test_a_change_that_the_disk_refused_does_not_come_back(
    journal: ChangeJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(change_journal, "swap_file", fail)
        with pytest.raises(OSError, match="No space"):
            journal.replace_all({"a.xml": b"new", "b.xml": b"newer"})
    lose_power(monkeypatch)
    recover(tmp_path)
    assert [(tmp_path / name).read_bytes() for name in ("a.xml", "b.xml")] == [b"old", b"old"]


def test_a_file_that_is_durable_is_not_synced_again_for_the_changes_of_others(
    journal: ChangeJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.replace("a.xml", b"new")
    opened, sync = os.open, os.fsync
    seen: list[str] = []

    def change_meanwhile(fd: int) -> None:
        monkeypatch.setattr(os, "fsync", sync)
        sync(fd)
        journal.replace("b.xml", b"newer")

    def note(path: Path, flags: int, *rest: int) -> int:
        seen.append(os.path.basename(path))
        return opened(path, flags, *rest)

    monkeypatch.setattr(os, "fsync", change_meanwhile)
    assert not journal.settle()
    monkeypatch.setattr(os, "open", note)
    assert journal.settle()
    assert "b.xml" in seen
    assert "a.xml" not in seen


def test_replaced_files_are_closed_when_their_changes_are_known(
    journal: ChangeJournal, tmp_path: Path
) -> None:
    journal.replace("a.xml", b"first")
    before = len(os.listdir("/proc/self/fd"))
    journal.replace("a.xml", b"second")
    assert len(os.listdir("/proc/self/fd")) == before, "one at most waits to be closed"
    journal.free_former()
    assert len(os.listdir("/proc/self/fd")) == before - 1
    journal.replace("b.xml", b"first")
    assert journal.settle()
    assert len(os.listdir("/proc/self/fd")) == before - 1


def test_a_change_of_many_files_keeps_few_open(journal: ChangeJournal, tmp_path: Path) -> None:
    names = [f"{number}.xml" for number in range(change_journal.MAX_FORMER + 9)]
    for name in names:
        (tmp_path / name).write_bytes(b"old")
    journal.replace("a.xml", b"opens the journal")
    journal.free_former()
    before = len(os.listdir("/proc/self/fd"))
    journal.replace_all(dict.fromkeys(names, b"new"))
    assert len(os.listdir("/proc/self/fd")) == before + change_journal.MAX_FORMER
    journal.close()
