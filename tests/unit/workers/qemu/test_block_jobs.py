"""Block jobs that a worker does not know of, or does not know whether QEMU has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from conf.emulator import EmulatorFacts
from rpc.enums import DomainEventID
from rpc.errors import ErrorCode, VirError
from supervisor.messages.block import BlockPull
from supervisor.messages.worker import GetStatus, Save
from supervisor.objects.job import AsyncJob, JobRecord
from supervisor.workers.qemu.block import job_begin
from tests.unit.workers.qemu.worker_under_test import WorkerTree, tree_of, until

JOB = "pull-vda-libvirt-1-format"
SAVED = JobRecord(job=AsyncJob.SAVE, operation=3, started_at=1.0, owner="remoteDispatchDomainSave")


def running(job: str) -> dict[str, object]:
    return {"return": [{"id": job, "type": "stream", "status": "running"}]}


def disk(folder: Path) -> str:
    """A disk with an image below its top one."""
    for name in ("top", "base"):
        (folder / name).touch()
    below = f"<format type='qcow2'/><source file='{folder / 'base'}'/><backingStore/>"
    return (
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>"
        f"<source file='{folder / 'top'}'/><backingStore type='file'>{below}</backingStore>"
        "<target dev='vda' bus='virtio'/></disk>"
    )


async def has_jobs(tree: WorkerTree) -> bool:
    reported = await tree.worker.call(GetStatus())
    return reported.guest is not None and reported.guest.has_block_jobs


async def test_a_guest_is_not_paused_for_a_save_that_a_job_of_qemus_would_keep_from_ending(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        await tree.start()
        tree.script({"query-jobs": [running("commit-vda")]})
        path = str(tmp_path / "saved")
        with pytest.raises(VirError, match="domain has active block job") as refused:
            await tree.worker.call(Save(job=SAVED, path=path, xml=tree.xml(), cookie=""))
        assert refused.value.code is ErrorCode.OPERATION_INVALID
        assert "stop" not in tree.commands()
        assert "migrate" not in tree.commands()
        assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize("has_begun", [True, False])
async def test_a_job_whose_begin_got_no_reply_is_cancelled_if_qemu_has_it(
    tmp_path: Path,
    emulator_facts: EmulatorFacts,
    monkeypatch: pytest.MonkeyPatch,
    has_begun: bool,
) -> None:
    monkeypatch.setattr(job_begin, "START_S", 0.1)
    async with tree_of(tmp_path, emulator_facts) as tree:
        await tree.start(disk(tmp_path))
        found = running(JOB) if has_begun else {"return": []}
        tree.script({"block-stream": [{"sleep": 0.5}], "query-jobs": [found]})
        with pytest.raises(VirError) as refused:
            await tree.worker.call(BlockPull(path="vda", base=None, bandwidth=0))
        assert refused.value.code is ErrorCode.OPERATION_TIMEOUT
        assert await has_jobs(tree)  # nobody says that there is none before QEMU does
        if has_begun:
            await until(lambda: "block-job-cancel" in tree.commands())
            return
        ended = DomainEventID.BLOCK_JOB_2
        await until(lambda: ended in [event.event_id for event in tree.forwarded])
        assert not await has_jobs(tree)
