"""virDomain job calls: virDomainGetJobInfo, virDomainGetJobStats, virDomainAbortJob.

Owns: one method per procedure, named as in the table. May touch: domains' jobs.
Source: libvirt 9.0, qemuDomainGetJobInfo, qemuDomainGetJobStats, qemuDomainAbortJobFlags.
"""

from __future__ import annotations

import contextlib
from dataclasses import astuple
from typing import Final

from rpc.enums import DomainAbortJobFlagsValues, DomainGetJobStatsFlags, DomainJobType
from rpc.errors import VirError
from rpc.values import Domain as DomainId
from rpc.values import TypedParam
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.domd.domain import DomainObject
from supervisor.domd.registry import DomainRegistry, not_running
from supervisor.domd.workers import Workers
from supervisor.messages.block import GetBackupProgress
from supervisor.objects.job import AsyncJob, Job, JobInfo, JobKind

STATS_FLAGS: Final = DomainGetJobStatsFlags.COMPLETED | DomainGetJobStatsFlags.KEEP_COMPLETED


class JobCalls:
    """Answers from domd: a worker that hangs in its job delays no query."""

    def __init__(self, registry: DomainRegistry, workers: Workers) -> None:
        self._workers = workers
        self._registry = registry
        self._errors = registry.errors

    async def domain_get_job_info(self, call: ClientCall, dom: DomainId) -> tuple[int, ...]:
        """Return the present job's type and progress; all 0 without a job.

        Raises:
            VirError: OPERATION_INVALID: the domain is off, or receives a migration.
        """
        job = await self._current(self._registry.find(dom))
        return astuple(job.info() if job is not None else JobInfo())

    async def domain_get_job_stats(
        self, call: ClientCall, dom: DomainId, flags: int
    ) -> tuple[int, list[TypedParam]]:
        """Return the statistics of the present job, or of the last one.

        COMPLETED selects the last job, of a domain that is off as well, and forgets it unless
        KEEP_COMPLETED is given.

        Raises:
            VirError: OPERATION_INVALID: the domain is off, or receives a migration.
        """
        self._errors.check_flags("DomainGetJobStats", flags, STATS_FLAGS)
        jobs = (domain := self._registry.find(dom)).jobs
        if flags & DomainGetJobStatsFlags.COMPLETED:
            job = jobs.completed if jobs.current is None else None
            if job is not None and not flags & DomainGetJobStatsFlags.KEEP_COMPLETED:
                jobs.completed = None
        else:
            job = await self._current(domain)
        return (job.type, job.stats()) if job is not None else (DomainJobType.NONE, [])

    async def domain_abort_job(self, call: ClientCall, dom: DomainId) -> None:
        """Abort the present job."""
        await self.domain_abort_job_flags(call, dom, 0)

    async def domain_abort_job_flags(self, call: ClientCall, dom: DomainId, flags: int) -> None:
        """Abort the present job; POSTCOPY aborts a post-copy migration, too.

        Raises:
            VirError: OPERATION_INVALID: the domain is off, has no job, or one that cannot be
                aborted.
        """
        self._errors.check_flags("DomainAbortJobFlags", flags, DomainAbortJobFlagsValues.POSTCOPY)
        domain = self._registry.find(dom)
        async with domain.jobs.hold("abort job", JobKind.ABORT):
            if not domain.is_active:
                raise not_running(domain)
            await domain.jobs.abort(flags)

    async def _current(self, domain: DomainObject) -> Job | None:
        job = domain.jobs.current
        if job is not None and job.record.job is AsyncJob.MIGRATION_IN:
            raise self._errors.operation_invalid(
                "migration statistics are available only on the source host"
            )
        if not domain.is_active:
            raise not_running(domain)
        if job is not None and job.record.job is AsyncJob.BACKUP:
            # A worker or a QEMU that hangs leaves the last figures.
            with contextlib.suppress(VirError):
                reply = await self._workers.call_running(domain, GetBackupProgress())
                job.progress = reply.progress
        return job
