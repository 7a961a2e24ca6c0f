"""Users' records in memory: as long as the database is the one that they were read from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.authd import user_records
from supervisor.authd.user_records import RecordKey, UserRecord, UserRecords

RECORD = UserRecord(((b"*userPassword", b"secret"),))
LATER = 1e12  # no file changes after it


def key(user: bytes = b"alice") -> RecordKey:
    return RecordKey(user, b"", b"host", 0, (b"*userPassword",), b"")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "passwd.db"
    path.write_bytes(b"1")
    return path


def kept(database: Path, now: float = LATER) -> UserRecords:
    records = UserRecords(database, lambda: now)
    records.keep(key(), RECORD, records.stamp())
    return records


def test_a_record_is_found_again(database: Path) -> None:
    assert kept(database).find(key()) == RECORD
    assert kept(database).find(key(b"bob")) is None


def test_a_change_of_the_file_forgets_all(database: Path) -> None:
    records = kept(database)
    database.write_bytes(b"22")
    assert records.find(key()) is None
    assert len(records) == 0


def test_another_file_in_its_place_forgets_all(database: Path) -> None:
    records = kept(database)
    times = os.stat(database)
    other = database.with_name("new")
    other.write_bytes(b"1")
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.rename(database)
    assert records.find(key()) is None


def test_a_file_that_is_gone_forgets_all(database: Path) -> None:
    records = kept(database)
    database.unlink()
    assert records.find(key()) is None
    assert len(records) == 0


def test_nothing_is_kept_of_a_file_that_has_just_changed(database: Path) -> None:
    changed = os.stat(database).st_ctime
    assert len(kept(database, changed + user_records.SETTLED_S / 2)) == 0
    assert len(kept(database, changed - 3600)) == 0  # the clock was set back
    assert len(kept(database, changed + user_records.SETTLED_S * 2)) == 1


def test_nothing_is_kept_that_was_read_while_the_file_changed(database: Path) -> None:
    records = UserRecords(database, lambda: LATER)
    before = records.stamp()
    database.write_bytes(b"22")
    records.keep(key(), RECORD, before)
    assert len(records) == 0


def test_there_is_a_limit_and_the_one_that_was_not_asked_for_goes(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_records, "MAX_RECORDS", 2)
    records = UserRecords(database, lambda: LATER)
    for user in (b"a", b"b"):
        records.keep(key(user), RECORD, records.stamp())
    assert records.find(key(b"a"))
    records.keep(key(b"c"), RECORD, records.stamp())
    assert [bool(records.find(key(user))) for user in (b"a", b"b", b"c")] == [True, False, True]


def test_a_long_name_is_not_kept(database: Path) -> None:
    records = UserRecords(database, lambda: LATER)
    records.keep(key(b"a" * (user_records.MAX_KEY + 1)), RECORD, records.stamp())
    assert len(records) == 0


def test_a_record_does_not_show_its_secrets() -> None:
    assert "secret" not in repr(RECORD)
