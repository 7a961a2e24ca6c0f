"""Jobs: which calls they let in, what clients see of them, and how they end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from rpc.enums import DomainJobOperation as Operation
from rpc.enums import DomainJobType, DomainState
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.service_errors import ServiceErrors
from supervisor.objects.change_lock import ChangeLock
from supervisor.objects.domain_status_xml import Status, read_status, write_status
from supervisor.objects.job import (
    MASKS,
    AsyncJob,
    DomainJobs,
    Job,
    JobInfo,
    JobKind,
    JobProgress,
    JobRecord,
)

RECORD = JobRecord(
    job=AsyncJob.SAVE, operation=Operation.SAVE, started_at=1.5, owner="save", phase="x"
)
MIB = 1 << 20


@pytest.fixture
def jobs() -> DomainJobs:
    errors = ServiceErrors(ErrorDomain.QEMU, "qemu")
    return DomainJobs(ChangeLock("web", errors), errors)


def begin(jobs: DomainJobs, job: AsyncJob = AsyncJob.SAVE) -> Job:
    return jobs.begin(job, Operation.SAVE, "save")


def test_a_domain_can_be_destroyed_and_queried_beside_every_job() -> None:
    for mask in MASKS.values():
        assert {JobKind.DESTROY, JobKind.QUERY} <= mask


def test_no_job_begins_beside_another() -> None:
    assert set(MASKS) == set(AsyncJob)
    assert not any(JobKind.ASYNC in mask for mask in MASKS.values())


def test_devices_change_beside_a_backup_alone() -> None:
    assert [job for job, mask in MASKS.items() if JobKind.MODIFY in mask] == [AsyncJob.BACKUP]


@pytest.mark.parametrize("kind", [JobKind.DESTROY, JobKind.ABORT])
async def test_a_call_that_the_mask_has_runs_beside_the_job(
    jobs: DomainJobs, kind: JobKind
) -> None:
    begin(jobs)
    async with asyncio.timeout(5), jobs.hold("call", kind):
        pass


async def test_another_call_waits_for_the_end_of_the_job(jobs: DomainJobs) -> None:
    job = begin(jobs)
    entered = asyncio.Event()

    async def change() -> None:
        async with jobs.hold("attach device"):
            entered.set()

    task = asyncio.create_task(change())
    await asyncio.sleep(0.01)
    assert not entered.is_set()
    jobs.end(job, DomainJobType.COMPLETED)
    await asyncio.wait_for(task, 5)


async def test_a_call_that_waits_for_a_job_too_long_names_its_owner(jobs: DomainJobs) -> None:
    begin(jobs)
    with pytest.raises(VirError, match=r"held by save, job 'save'\) of 'web' for x") as refused:
        async with jobs.hold("x", timeout_s=0.01):
            pass
    assert refused.value.code is ErrorCode.OPERATION_TIMEOUT


async def test_a_job_that_begins_while_a_call_waits_for_the_lock_holds_it_off(
    jobs: DomainJobs,
) -> None:
    async with jobs.hold("save", JobKind.ASYNC):
        waiting = asyncio.create_task(enter(jobs))
        await asyncio.sleep(0.01)
        job = begin(jobs)
    await asyncio.sleep(0.01)
    assert not waiting.done()
    jobs.end(job, DomainJobType.COMPLETED)
    await asyncio.wait_for(waiting, 5)


async def enter(jobs: DomainJobs) -> None:
    async with jobs.hold("attach device"):
        pass


async def test_the_job_outlives_the_call_that_began_it(jobs: DomainJobs) -> None:
    async with jobs.hold("save", JobKind.ASYNC):
        job = begin(jobs)
    assert jobs.current is job


def test_info_adds_memory_and_files() -> None:
    progress = JobProgress(
        memory_total=4 * MIB, memory_processed=MIB, memory_remaining=3 * MIB,
        disk_total=8 * MIB, disk_processed=2 * MIB, disk_remaining=6 * MIB,
    )  # fmt: skip
    job = Job(RECORD, progress=progress, elapsed_ms=250)
    assert job.info() == JobInfo(
        DomainJobType.UNBOUNDED, 250, 0, 12 * MIB, 3 * MIB, 9 * MIB,
        4 * MIB, MIB, 3 * MIB, 8 * MIB, 2 * MIB, 6 * MIB,
    )  # fmt: skip


def test_stats_have_what_is_known_alone() -> None:
    job = Job(RECORD, progress=JobProgress(downtime=7), elapsed_ms=250)
    values = {param.field: param.value.value for param in job.stats()}
    assert values == {"operation": Operation.SAVE, "time_elapsed": 250, "downtime": 7}


def test_a_job_that_ended_is_the_completed_one_and_its_time_stands_still(
    jobs: DomainJobs,
) -> None:
    job = begin(jobs)
    jobs.end(job, DomainJobType.COMPLETED)
    assert (jobs.current, jobs.completed) == (None, job)
    assert job.time_elapsed() == job.time_elapsed()
    assert job.info().type == DomainJobType.COMPLETED


def test_a_job_that_failed_leaves_the_completed_one(jobs: DomainJobs) -> None:
    completed = begin(jobs)
    jobs.end(completed, DomainJobType.COMPLETED)
    failed = begin(jobs)
    jobs.end(failed, DomainJobType.FAILED, "No space left on device")
    assert (jobs.current, jobs.completed) == (None, completed)
    assert failed.info().type == DomainJobType.FAILED
    assert "No space left on device" in [param.value.value for param in failed.stats()]


@pytest.mark.parametrize(
    ("pull", "fields"),
    [
        (False, ["disk_total", "disk_processed", "disk_remaining", "success"]),
        (True, ["disk_temp_used", "disk_temp_total", "success"]),
    ],
)
def test_a_backup_tells_how_it_ended_and_no_sums(
    jobs: DomainJobs, pull: bool, fields: list[str]
) -> None:
    job = begin(jobs, AsyncJob.BACKUP)
    job.progress = JobProgress.of_backup(3, 4, pull=pull)
    jobs.end(job, DomainJobType.FAILED, "No space left on device")
    assert jobs.completed is job
    assert [param.field for param in job.stats()] == [
        "operation",
        "time_elapsed",
        *fields,
        "errmsg",
    ]
    assert JobProgress.of_backup(0, 0, pull=pull) == JobProgress()


def test_a_job_that_did_not_begin_leaves_the_completed_one(jobs: DomainJobs) -> None:
    completed = begin(jobs)
    jobs.end(completed, DomainJobType.COMPLETED)
    never = begin(jobs, AsyncJob.BACKUP)
    jobs.discard(never)
    assert (jobs.current, jobs.completed) == (None, completed)
    assert never.ended.is_set()


async def test_abort_without_a_job_is_refused(jobs: DomainJobs) -> None:
    with pytest.raises(VirError, match="no job is active on the domain") as refused:
        await jobs.abort(0)
    assert refused.value.code is ErrorCode.OPERATION_INVALID


async def test_abort_asks_the_jobs_owner(jobs: DomainJobs) -> None:
    asked: list[int] = []

    async def abort(flags: int) -> None:
        asked.append(flags)

    jobs.begin(AsyncJob.MIGRATION_OUT, Operation.MIGRATION_OUT, "migrate", abort)
    await jobs.abort(1)
    assert asked == [1]


@pytest.mark.parametrize(
    ("job", "text"),
    [
        (AsyncJob.MIGRATION_IN, "cannot abort incoming migration"),
        (AsyncJob.SNAPSHOT, "cannot abort job 'snapshot' of domain 'web'"),
    ],
)
async def test_a_job_that_cannot_be_aborted_says_so(
    jobs: DomainJobs, job: AsyncJob, text: str
) -> None:
    begin(jobs, job)
    with pytest.raises(VirError, match=text):
        await jobs.abort(0)


def test_a_job_that_a_worker_reports_is_known_until_it_reports_none(jobs: DomainJobs) -> None:
    jobs.restore(RECORD)
    job = jobs.current
    assert job is not None
    assert job.record == RECORD
    jobs.restore(None)
    assert jobs.current is None
    assert job.type is DomainJobType.FAILED


def test_a_worker_that_reports_no_job_yet_ends_none_of_this_process(jobs: DomainJobs) -> None:
    job = begin(jobs)
    jobs.restore(None)
    assert jobs.current is job


def test_a_job_survives_in_the_status_xml(tmp_path: Path) -> None:
    status = Status(
        name="web", uuid="u", id=1, state=DomainState.RUNNING, reason=1, pid=2, job=RECORD
    )
    write_status(tmp_path / "web.xml", status, "<domain id='1'></domain>")
    read = read_status(tmp_path / "web.xml")
    assert read is not None
    assert read[0].job == RECORD
