"""libsasl2 with users' records in memory: the same users get in as from the database."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import pytest

from supervisor.authd import cyrus, user_records
from supervisor.authd.auxprop import plugins_in_turn
from supervisor.authd.cyrus import ConnectionFacts, SaslConnection, SaslError
from supervisor.authd.scram_keys import scheme_of
from supervisor.authd.user_records import RecordKey, Stamp, UserRecord, UserRecords
from tests.unit.authd.sasl_client import RightClient, needs_sasl

TLS: Final = ConnectionFacts(
    local="", remote="", is_protected=True, external_ssf=256, external_name="", min_ssf=0
)
TCP: Final = ConnectionFacts(
    local="127.0.0.1;1",
    remote="127.0.0.1;2",
    is_protected=False,
    external_ssf=0,
    external_name="",
    min_ssf=56,
)
MECHANISMS: Final = ("SCRAM-SHA-256", "SCRAM-SHA-1", "DIGEST-MD5", "PLAIN")

pytestmark = needs_sasl


@pytest.fixture
def read(users: Path, monkeypatch: pytest.MonkeyPatch) -> list[RecordKey]:
    """Have records kept at once; what was read from the database, in order."""
    keys: list[RecordKey] = []
    keep = UserRecords.keep

    def noted(self: UserRecords, key: RecordKey, record: UserRecord, before: Stamp | None) -> None:
        keys.append(key)
        keep(self, key, record, before)

    monkeypatch.setenv("SASL_CONF_PATH", str(users / "etc/sasl2"))
    monkeypatch.setattr(user_records, "SETTLED_S", 0.0)
    monkeypatch.setattr(UserRecords, "keep", noted)
    cyrus.library()
    return keys


def set_password(users: Path, user: str, password: str | None) -> None:
    """Change a user's password; None: remove the user."""
    change = ["-d"] if password is None else ["-p", "-c"]
    subprocess.run(
        ["saslpasswd2", *change, "-a", "libvirt", "-f", str(users / "passwd.db"), user],
        input=password or "",
        text=True,
        check=True,
        timeout=30,
    )


def enters(mechanism: str, user: str = "alice", password: str = "secret") -> bool:
    """Return whether a user gets in by a password."""
    connection = SaslConnection(TCP if mechanism == "DIGEST-MD5" else TLS)
    client = RightClient(mechanism, user, password)
    try:
        step = connection.start(mechanism, client.message(b"") or None)
        while not step.is_complete:
            step = connection.step(client.message(step.data or b""))
        if connection.ssf():
            assert connection.encode(b"reply")
        return connection.username().partition("@")[0] == user
    except SaslError:
        return False
    finally:
        connection.close()


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_users_record_is_read_once(mechanism: str, read: list[RecordKey]) -> None:
    assert enters(mechanism)
    read.clear()
    assert enters(mechanism)
    assert read == []


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_wrong_password_is_refused_by_a_known_record(
    mechanism: str, read: list[RecordKey]
) -> None:
    assert enters(mechanism)
    read.clear()
    assert not enters(mechanism, password="wrong")
    assert not enters(mechanism, password="")
    assert enters(mechanism)
    assert read == []


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_new_password_is_the_only_one_from_then_on(
    users: Path, mechanism: str, read: list[RecordKey]
) -> None:
    set_password(users, "carol", "first")
    assert enters(mechanism, "carol", "first")
    assert enters(mechanism, "carol", "first")
    set_password(users, "carol", "other")
    assert not enters(mechanism, "carol", "first")
    assert enters(mechanism, "carol", "other")
    set_password(users, "carol", None)
    assert not enters(mechanism, "carol", "other")


def test_an_unknown_user_is_looked_for_each_time(read: list[RecordKey]) -> None:
    for _ in range(2):
        assert not enters("SCRAM-SHA-256", "nobody")
    assert read == []  # what was not found is not kept


def test_of_scram_no_password_is_kept(
    read: list[RecordKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[UserRecord] = []
    keep = UserRecords.keep

    def noted(self: UserRecords, key: RecordKey, record: UserRecord, before: Stamp | None) -> None:
        kept.append(record)
        keep(self, key, record, before)

    monkeypatch.setattr(UserRecords, "keep", noted)
    assert enters("SCRAM-SHA-256", "bob")
    assert [name for record in kept for name, _ in record.values] == [b"*authPassword"]


def test_our_plugin_is_asked_in_the_place_of_sasldb_alone() -> None:
    assert plugins_in_turn(None, [b"sql", b"sasldb"]) == b"sql virtvisor-sasldb"
    assert plugins_in_turn(b"SASLDB  ldapdb", [b"sasldb"]) == b"virtvisor-sasldb ldapdb"
    assert plugins_in_turn(b"sql", [b"sasldb", b"sql"]) == b"sql"


@pytest.mark.parametrize(
    ("mechanism", "scheme"),
    [
        (b"SCRAM-SHA-256", b"SCRAM-SHA-256"),
        (b"scram-sha-1-plus", b"SCRAM-SHA-1"),
        (b"SCRAM-MD5", b""),
        (b"", b""),
    ],
)
def test_keys_are_those_of_the_mechanisms_hash(mechanism: bytes, scheme: bytes) -> None:
    assert scheme_of(mechanism) == scheme
