"""Which user of the range is which guest's."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import UUID

import pytest

from rpc.errors import ErrorCode, VirError
from supervisor.workers import dynamic_users
from supervisor.workers.dynamic_users import PROBES, DynamicUsers, candidates, is_mapped

NUMBERS = range(5000, 5003)


def uuid(number: int) -> str:
    return str(UUID(int=number))


class Host:
    """A host whose active guests a test chooses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "users"
        self.active: set[str] = set()

    def reserve(self, number: int, numbers: range = NUMBERS) -> int:
        users = DynamicUsers(self.folder, numbers, self.active.__contains__)
        return users.reserve(uuid(number), f"guest{number}").uid


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_guest_keeps_its_user_and_no_two_have_one(host: Host) -> None:
    first = [host.reserve(number) for number in range(3)]
    assert sorted(first) == list(NUMBERS)
    assert [host.reserve(number) for number in range(3)] == first
    assert host.folder.stat().st_mode & 0o777 == 0o700


def test_the_user_that_was_used_last_longest_ago_is_taken_from_an_idle_guest(host: Host) -> None:
    users = {number: host.reserve(number) for number in range(3)}
    host.active = {"guest0"}
    for age, number in enumerate((0, 2, 1)):
        os.utime(host.folder / f"{users[number]}.json", (1000 + age, 1000 + age))
    assert host.reserve(7) == users[2]


def test_running_guests_keep_theirs(host: Host) -> None:
    for number in range(3):
        host.reserve(number)
    host.active = {"guest0", "guest1", "guest2"}
    with pytest.raises(VirError, match="dynamic_users_max") as refused:
        host.reserve(7)
    assert refused.value.code is ErrorCode.OPERATION_FAILED


def test_a_broken_record_is_replaced(host: Host) -> None:
    number = host.reserve(1)
    (host.folder / f"{number}.json").write_bytes(b"")
    assert host.reserve(1) == number


def test_user_and_group_have_one_number(host: Host) -> None:
    users = DynamicUsers(host.folder, NUMBERS, lambda _: False)
    user = users.reserve(uuid(1), "web")
    assert user.uid == user.gid == user.groups[0]
    assert user.is_dynamic


def test_candidates_are_some_of_the_range_without_repetition() -> None:
    numbers = range(1_900_000_000, 1_900_065_536)
    chosen = candidates(uuid(1), numbers)
    assert len(set(chosen)) == PROBES
    assert set(chosen) <= set(numbers)
    assert candidates(uuid(1), numbers) == chosen
    assert sorted(candidates(uuid(1), NUMBERS)) == list(NUMBERS)


def test_a_container_without_the_number_is_told_apart(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_mapped(5000, "         0          0 4294967295\n")
    id_map = "0 100000 1000\n4000 300000 500\n"
    assert is_mapped(4499, id_map)
    assert not is_mapped(4500, id_map)
    (tmp_path / "uid_map").write_text(id_map)
    monkeypatch.setattr(dynamic_users, "ID_MAPS", (tmp_path / "uid_map",))
    with pytest.raises(VirError, match="user namespace lacks"):
        host.reserve(1)
