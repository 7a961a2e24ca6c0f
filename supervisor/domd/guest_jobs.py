"""GuestJobs: long requests to a worker, as jobs that outlive the calls that began them.

Owns: the begin and the end of such a job. May touch: workers; domains' jobs and phases.
May not touch: what a job does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from ipc import Ack, BusError, NoSuchService, PeerGone, Request
from rpc.enums import DomainJobOperation, DomainJobType
from rpc.errors import ErrorCode, VirError
from supervisor.domd.domain import DomainObject
from supervisor.domd.registry import not_running, refuse_block_jobs
from supervisor.domd.running_domains import RunningDomains
from supervisor.domd.workers import Workers
from supervisor.objects.domain_phase import PhaseTrigger
from supervisor.objects.job import AsyncJob, Job, JobKind, JobRecord, Outcome

TAKEN_OVER_S: Final = 60.0  # for the next worker to say what became of a job


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """One job."""

    job: AsyncJob
    operation: DomainJobOperation
    call: str  # libvirt's name of the call, for others' errors: "remoteDispatchDomainSave"
    make: Callable[[JobRecord], Request[Ack]]  # the worker's request, once the job has begun
    keeps_stats: bool = True  # of `Job`
    beside_block_jobs: bool = False  # else libvirt refuses it: QEMU would migrate
    #: Runs first, while the domain is held; what it raises ends the call, and no job is begun.
    prepare: Callable[[], Awaitable[None]] | None = None
    #: Runs once the worker has done it, before the job ends.
    finish: Callable[[], Awaitable[None]] | None = None


class GuestJobs:
    """The jobs of one driver's domains."""

    def __init__(self, domains: RunningDomains, workers: Workers) -> None:
        self._domains = domains
        self._workers = workers

    async def run(self, domain: DomainObject, request: JobRequest) -> None:
        """Run a job to its end; it goes on when the caller is cancelled: its client is gone.

        Raises:
            VirError: OPERATION_INVALID: the domain is off, or has a block job; OPERATION_TIMEOUT:
                another job or change lasts too long; the worker's error; OPERATION_FAILED: the
                worker died.
        """
        if not domain.is_active:
            raise not_running(domain)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        async with domain.jobs.hold(request.call, JobKind.ASYNC):
            if not domain.is_active:
                raise not_running(domain)
            if not request.beside_block_jobs:
                refuse_block_jobs(domain)
            if request.prepare is not None:
                await request.prepare()
            job = domain.jobs.begin(
                request.job,
                request.operation,
                request.call,
                lambda _: self._domains.jobs.abort(domain),
            )
            job.keeps_stats = request.keeps_stats
            if request.job is AsyncJob.SAVE:
                domain.phases.step(PhaseTrigger.SAVE)
            self._domains.spawn_task(self._run(domain, job, request, done))
        await asyncio.shield(done)

    async def _run(
        self, domain: DomainObject, job: Job, request: JobRequest, done: asyncio.Future[None]
    ) -> None:
        done.add_done_callback(_ignore_exception)
        try:
            await self._request(domain, job, request)
            if request.finish is not None:
                await request.finish()
        except VirError as error:
            aborted = error.code is ErrorCode.OPERATION_ABORTED
            outcome: Outcome = DomainJobType.CANCELLED if aborted else DomainJobType.FAILED
            self._domains.jobs.end(domain, job, outcome, error.message)
            done.set_exception(error)
        else:
            self._domains.jobs.end(domain, job, DomainJobType.COMPLETED)
            done.set_result(None)

    async def _request(self, domain: DomainObject, job: Job, request: JobRequest) -> None:
        """Have the worker do it.

        Raises:
            VirError: it failed.
        """
        try:
            await self._workers.call(domain, request.make(job.record))
        except BusError as error:
            lost = isinstance(error, PeerGone | NoSuchService)
            if lost and not job.ended.is_set():
                # As with a job of a previous domd: what workers report counts from now on.
                job.is_restored = True
                await self._wait_taken_over(domain, job, error)
            # The guest's end was reported before the reply, or by the next worker.
            if job.type is DomainJobType.COMPLETED:
                return
            detail = (
                f"the worker process of '{domain.name}' died during {request.job.value}; the job "
                f"is undone: {error}"
                if lost
                else f"the worker process of '{domain.name}' failed in {request.job.value}: {error}"
            )
            raise domain.errors.operation_failed(detail) from error

    async def _wait_taken_over(self, domain: DomainObject, job: Job, error: BusError) -> None:
        try:
            async with asyncio.timeout(TAKEN_OVER_S):
                await job.ended.wait()
        except TimeoutError:
            detail = (
                f"the worker process of '{domain.name}' died, and its successor does not say what "
                f"became of {job.record.job.value}: {error}"
            )
            raise domain.errors.operation_timeout(detail) from error


def _ignore_exception(future: asyncio.Future[None]) -> None:
    """Mark an exception as retrieved: the client that waited for it may be gone."""
    if not future.cancelled():
        future.exception()
