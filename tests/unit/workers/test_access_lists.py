"""A user's entry in a file's access control list."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.workers import access_lists
from supervisor.workers.access_lists import (
    Entry,
    Tag,
    encode,
    from_mode,
    parse,
    with_user,
    without_user,
)

PERMISSIONS = st.integers(0, 7)
IDS = st.integers(1, 9)


@st.composite
def lists(draw: st.DrawFn) -> list[Entry]:
    """Lists as the kernel has them."""
    entries = from_mode(draw(st.integers(0, 0o777)))
    users = draw(st.dictionaries(IDS, PERMISSIONS, max_size=3))
    groups = draw(st.dictionaries(IDS, PERMISSIONS, max_size=3))
    entries += [Entry(Tag.USER, value, key) for key, value in users.items()]
    entries += [Entry(Tag.GROUP, value, key) for key, value in groups.items()]
    if users or groups:
        entries.append(Entry(Tag.MASK, draw(PERMISSIONS)))
    return entries


def allowed(entries: list[Entry]) -> dict[tuple[Tag, int], int]:
    """What each may do in the end."""
    mask = next((entry.permissions for entry in entries if entry.tag is Tag.MASK), 7)
    return {
        (entry.tag, entry.id): entry.permissions & (mask if entry.tag in access_lists.MASKED else 7)
        for entry in entries
        if entry.tag is not Tag.MASK
    }


@given(lists())
def test_what_is_written_is_read_again(entries: list[Entry]) -> None:
    assert sorted(parse(encode(entries)), key=str) == sorted(entries, key=str)


@given(lists(), st.sampled_from([4, 6]))
def test_an_added_user_may_and_nobody_else_more_or_less(
    entries: list[Entry], permissions: int
) -> None:
    added = with_user(entries, 99, permissions)
    assert allowed(added) == {**allowed(entries), (Tag.USER, 99): permissions}
    assert allowed(without_user(added, 99)) == allowed(entries)
    assert without_user(entries, 99) == entries


@given(st.binary(max_size=40))
def test_hostile_bytes_are_a_list_or_one_refusal(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        parse(data)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may let others read")
def test_a_real_user_may_read_and_no_longer(tmp_path: Path) -> None:
    path = tmp_path / "base"
    path.write_text("x")
    path.chmod(0o640)
    fd = os.open(path, os.O_PATH)
    try:
        access_lists.grant(fd, 64001, access_lists.READ)
        access_lists.grant(fd, 64002, access_lists.READ)
        assert may_read(path, 64001)
        assert not may_read(path, 64003)
        access_lists.revoke(fd, 64001)
        assert not may_read(path, 64001)
        assert may_read(path, 64002)
        access_lists.revoke(fd, 64002)
        assert os.fstat(fd).st_mode & 0o777 == 0o640
    finally:
        os.close(fd)


def may_read(path: Path, uid: int) -> bool:
    """Whether a user may read a file, whose folders it may search."""
    for folder in path.parents:
        with contextlib.suppress(OSError):
            folder.chmod(folder.stat().st_mode | 0o011)
    pid = os.fork()
    if pid == 0:
        code = 1
        with contextlib.suppress(OSError):
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            path.read_bytes()
            code = 0
        os._exit(code)
    return os.waitpid(pid, 0)[1] == 0
