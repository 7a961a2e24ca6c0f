"""How far a backup is: as QEMU says, and while QEMU is busy copying, as it said last."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import pytest

from rpc.errors import ErrorCode, VirError
from supervisor.objects.backup_job import BackupDiskRecord, BackupRecord
from supervisor.workers.qemu.block import backups
from supervisor.workers.qemu.block.job_commands import QemuJob
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.qmp.monitor import Monitor, Query
from supervisor.workers.qemu.stats.last_replies import LastReplies

ANSWERED_S = 1.0
DISK = BackupDiskRecord(target="vda", job="backup-vda", node="libvirt-1-format")


class BusyMonitor:
    """A QEMU that says once how far its job is, and nothing more."""

    def __init__(self) -> None:
        self.asked = 0

    async def query_all(self, queries: Sequence[Query], *, timeout_s: float) -> list[object]:
        """Reply to the first query alone."""
        self.asked += 1
        if self.asked > 1:
            await asyncio.sleep(60)
        job = QemuJob(id=DISK.job, current_progress=30, total_progress=100)
        return [[job]]


def guest_of(monitor: BusyMonitor, backup: BackupRecord | None) -> Guest:
    replies = LastReplies(lambda: cast("Monitor", monitor))
    return cast("Guest", SimpleNamespace(status=SimpleNamespace(backup=backup), replies=replies))


async def test_a_qemu_that_is_busy_leaves_its_last_figures() -> None:
    monitor = BusyMonitor()
    guest = guest_of(monitor, BackupRecord(xml="", pull=False, disks=[DISK], done=7, total=7))
    async with asyncio.timeout(ANSWERED_S):
        for _ in range(3):
            progress = await backups.progress(guest)
            assert (progress.disk_processed, progress.disk_total) == (37, 107)
    assert monitor.asked == 2


async def test_without_a_backup_there_is_no_progress() -> None:
    with pytest.raises(VirError) as refused:
        await backups.progress(guest_of(BusyMonitor(), None))
    assert refused.value.code is ErrorCode.OPERATION_INVALID
