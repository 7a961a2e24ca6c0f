"""JobReports: what workers report of jobs, what clients are told of them, and their end.

Owns: the end of every job of a driver's domains. May touch: workers; clients, by events.
May not touch: guests; how a job is begun (`supervisor.domd.guest_jobs`).
"""

from __future__ import annotations

from typing import Final

from rpc.enums import DomainEventID, DomainJobType, DomainShutoffReason
from supervisor.dispatch.events import Publisher
from supervisor.domd.domain import DomainObject
from supervisor.domd.registry import DomainRegistry
from supervisor.domd.workers import Workers
from supervisor.messages.worker import AbortJob, JobProgressed
from supervisor.objects.backup_job import BackupEnd
from supervisor.objects.domain_phase import PhaseTrigger
from supervisor.objects.job import AsyncJob, Job, JobProgress, JobRecord, Outcome

#: Jobs that end their guest: the reason for which it is off if they have completed.
ENDS_WELL: Final = {
    AsyncJob.SAVE: DomainShutoffReason.SAVED,
    AsyncJob.DUMP: DomainShutoffReason.CRASHED,
}
BACKUP_OUTCOMES: Final[dict[int, Outcome]] = {
    DomainJobType.COMPLETED: DomainJobType.COMPLETED,
    DomainJobType.FAILED: DomainJobType.FAILED,
    DomainJobType.CANCELLED: DomainJobType.CANCELLED,
}


class JobReports:
    """The jobs of one driver's domains, as workers report them."""

    def __init__(self, registry: DomainRegistry, workers: Workers, publisher: Publisher) -> None:
        self._registry = registry
        self._workers = workers
        self._publisher = publisher
        workers.subscribe(JobProgressed, self.on_progressed)

    def on_progressed(self, event: JobProgressed) -> None:
        """Record how far a job is."""
        domain = self._registry.by_uuid(event.uuid)
        if domain is not None and domain.jobs.current is not None:
            domain.jobs.current.progress = event.progress

    def restore(
        self, domain: DomainObject, record: JobRecord | None, backup_end: BackupEnd | None = None
    ) -> None:
        """Record a job that a worker reports, which may have been begun before this process.

        Args:
            domain: the worker's.
            record: the job; None: it has none.
            backup_end: how its last backup ended.
        """
        if record is None and backup_end is not None:
            self._end_backup(domain, backup_end)
        domain.jobs.restore(record)
        job = domain.jobs.current
        if job is None:
            domain.phases.step(PhaseTrigger.JOB_FAILED)  # a save whose outcome is not known
        elif job.abort is None:
            job.abort = lambda _: self.abort(domain)

    def _end_backup(self, domain: DomainObject, ended: BackupEnd) -> None:
        """End the job of a backup, if it is the present one."""
        job = domain.jobs.current
        if job is None or job.record.job is not AsyncJob.BACKUP:
            return
        if job.record.started_at != ended.started_at:
            return
        job.progress = JobProgress.of_backup(ended.done, ended.total, pull=ended.pull)
        job.elapsed_ms = ended.elapsed_ms
        self.end(domain, job, BACKUP_OUTCOMES[ended.outcome], ended.error)

    async def abort(self, domain: DomainObject) -> None:
        """Have the worker cancel its job.

        Raises:
            VirError: as `Workers.call_running`.
        """
        await self._workers.call_running(domain, AbortJob())

    def end(self, domain: DomainObject, job: Job, outcome: Outcome, error: str = "") -> None:
        """End a job; clients get an event of one that has completed."""
        if job.ended.is_set():
            return
        domain.jobs.end(job, outcome, error)
        domain.phases.step(PhaseTrigger.JOB_FAILED)  # of a guest that runs on; else ignored
        completed = outcome is DomainJobType.COMPLETED and job.keeps_stats
        if completed or job.record.job is AsyncJob.BACKUP:
            name = "domain_event_callback_job_completed"
            event = DomainEventID.JOB_COMPLETED
            self._publisher.publish(domain, event, name, domain.identity, job.stats())
        else:
            self._publisher.invalidate()

    def end_with_guest(self, domain: DomainObject, reason: int) -> None:
        """End the job of a guest that has ended, perhaps by that job.

        Args:
            domain: the guest's.
            reason: virDomainShutoffReason.
        """
        job = domain.jobs.current
        if job is None:
            return
        if job.record.job is AsyncJob.BACKUP:
            self.end(domain, job, DomainJobType.CANCELLED)
            return
        completed = reason == ENDS_WELL.get(job.record.job)
        outcome: Outcome = DomainJobType.COMPLETED if completed else DomainJobType.FAILED
        self.end(domain, job, outcome, "" if completed else "domain is not running")
