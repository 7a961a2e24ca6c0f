"""What QEMU's user may reach."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rpc.errors import ErrorCode, VirError
from supervisor.runtime.emulator_user import User
from supervisor.workers.spawn import check_reachable, may_search

QEMU = User(64055, 64055, "")


@pytest.mark.skipif(os.geteuid() != 0, reason="whoever is no root runs QEMU itself")
def test_a_folder_behind_one_that_qemus_user_may_not_search_is_refused_by_name() -> None:
    private = Path("/tmp/vv-private-folder")
    folder = private / "var/lib/domain"
    folder.mkdir(parents=True)
    try:
        private.chmod(0o755)
        check_reachable(folder, QEMU)
        private.chmod(0o700)
        with pytest.raises(VirError, match=f"64055 may not search '{private}'") as refused:
            check_reachable(folder, QEMU)
        assert refused.value.code is ErrorCode.SYSTEM_ERROR
        check_reachable(folder, User(0, 0, "root"))
    finally:
        for part in (folder, folder.parent, private / "var", private):
            part.rmdir()


@pytest.mark.parametrize(
    ("mode", "uid", "groups", "may"),
    [
        (0o700, 0, [0], True),
        (0o750, 5, [7], False),
        (0o710, 5, [7, 1000], True),
        (0o701, 5, [1000], False),  # the group's bits count for its members, not the others'
        (0o711, 5, [7], True),
        (0o611, 1000, [1000], False),
    ],
)
def test_search_permission(mode: int, uid: int, groups: list[int], *, may: bool) -> None:
    status = os.stat_result((mode | 0o040000, 1, 1, 1, 1000, 1000, 0, 0, 0, 0))
    assert may_search(status, uid, groups) is may
