"""Job information for clients: no job, one that a worker reports, one that has ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from rpc.enums import (
    DomainEventID,
    DomainEventType,
    DomainJobOperation,
    DomainJobType,
    DomainShutoffReason,
    DomainState,
)
from rpc.errors import ErrorCode, VirError
from supervisor.objects.job import AsyncJob, JobRecord
from tests.unit.domd.domd_under_test import DOM, Domd, domd, successor, until

SAVE = JobRecord(job=AsyncJob.SAVE, operation=DomainJobOperation.SAVE, started_at=1.0, owner="save")
COMPLETED, KEEP = 1, 2


async def running(service: Domd) -> None:
    await service.define()
    await service.start()


async def begin_save(service: Domd) -> None:
    """Have the worker report a job, as one does that a predecessor of domd began."""
    worker = service.tree.worker
    worker.change_state(DomainState.PAUSED, DomainEventType.SUSPENDED, 0, job=SAVE)
    await until(lambda: service.tree.events[-1][0] == DomainEventType.SUSPENDED)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("domain_get_job_info", ()),
        ("domain_get_job_stats", (0,)),
        ("domain_abort_job", ()),
        ("domain_abort_job_flags", (0,)),
    ],
)
async def test_a_domain_that_is_off_has_no_job(
    tmp_path: Path, name: str, arguments: tuple[int, ...]
) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        with pytest.raises(VirError, match="domain is not running") as refused:
            await service.call(name, DOM, *arguments)
        assert refused.value.code is ErrorCode.OPERATION_INVALID


async def test_a_running_domain_without_a_job_says_none(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await running(service)
        assert list(await service.call("domain_get_job_info", DOM)) == [0] * 12
        assert tuple(await service.call("domain_get_job_stats", DOM, 0)) == (0, [])
        with pytest.raises(VirError, match="no job is active on the domain") as refused:
            await service.call("domain_abort_job", DOM)
        assert refused.value.code is ErrorCode.OPERATION_INVALID


async def test_unknown_flags_are_refused(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await running(service)
        for name in ("domain_get_job_stats", "domain_abort_job_flags"):
            with pytest.raises(VirError, match="unsupported flags") as refused:
                await service.call(name, DOM, 8)
            assert refused.value.code is ErrorCode.INVALID_ARG


async def test_a_job_that_the_worker_reports_is_told_also_by_a_new_domd(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await running(service)
        await begin_save(service)
        async with successor(service) as again:
            kind, elapsed, *_ = await again.call("domain_get_job_info", DOM)
            assert kind == DomainJobType.UNBOUNDED
            assert elapsed > 0
            _, stats = await again.call("domain_get_job_stats", DOM, 0)
            assert stats[0].field == "operation"
            assert stats[0].value.value == DomainJobOperation.SAVE
            await again.destroy()


async def test_a_job_that_failed_is_not_the_last_one_that_completed(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await running(service)
        await begin_save(service)
        await service.destroy()
        assert tuple(await service.call("domain_get_job_stats", DOM, COMPLETED)) == (0, [])


async def test_the_last_job_is_kept_until_it_was_read(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await running(service)
        await begin_save(service)
        service.tree.worker.end_guest(DomainShutoffReason.SAVED, 4)
        await until(lambda: service.tree.events[-1] == (DomainEventType.STOPPED, 4))
        assert DomainEventID.JOB_COMPLETED in service.tree.other_events
        kept = await service.call("domain_get_job_stats", DOM, COMPLETED | KEEP)
        assert kept[0] == DomainJobType.COMPLETED
        assert await service.call("domain_get_job_stats", DOM, COMPLETED) == kept
        assert tuple(await service.call("domain_get_job_stats", DOM, COMPLETED)) == (0, [])


async def test_a_job_holds_off_changes_and_not_a_destroy(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await running(service)
        await begin_save(service)
        state, _, _ = await service.call("domain_get_control_info", DOM, 0)
        assert state == 1  # VIR_DOMAIN_CONTROL_JOB
        await service.destroy()
