"""Locks of workers that died after their guest."""

from __future__ import annotations

import fcntl
from pathlib import Path

from supervisor.domd.unheld_locks import remove_unheld_locks


def test_a_lock_that_nobody_holds_goes_where_no_guest_is_known(tmp_path: Path) -> None:
    for name in ("gone.lock", "known.lock", "known.xml", "starting.lock", "other"):
        (tmp_path / name).touch()
    with (tmp_path / "starting.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        remove_unheld_locks(tmp_path)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["known.lock", "known.xml", "other", "starting.lock"]


def test_a_host_without_the_folder_has_no_locks(tmp_path: Path) -> None:
    remove_unheld_locks(tmp_path / "qemu")
