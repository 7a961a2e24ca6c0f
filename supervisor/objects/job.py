"""Jobs of a domain: the long operations that clients watch, abort and are held off by.

Owns: a domain's present and last job, and which calls may run beside it.
May not touch: the guest; how a job is done and aborted is its owner's.
Source: libvirt 9.0, conf/virdomainjob.h (virDomainJob, virDomainAsyncJob) and qemu_domainjob.

A call that changes a domain holds its change lock and ends with its reply. A job outlives the call
and the connection that began it: the lock is released, and later calls are let in by the job's
mask. The worker keeps a `JobRecord` in the status XML, so that the next worker, and the next domd,
know of a job that QEMU is still doing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Literal

import msgspec

from rpc.enums import DomainJobOperation as Operation
from rpc.enums import DomainJobType
from rpc.params import Boolean, Int, String, ULLong, params
from rpc.values import TypedParam, TypedValue
from supervisor.dispatch.service_errors import ServiceErrors
from supervisor.objects.change_lock import JOB_S, ChangeLock


class JobKind(Enum):
    """What a call does to a domain (virDomainJob), for the mask of the job beside it."""

    QUERY = "query"
    DESTROY = "destroy"
    SUSPEND = "suspend"
    MODIFY = "modify"
    ABORT = "abort"
    MIGRATION_OP = "migration operation"
    ASYNC = "async"  # it begins a job: never beside another one


class AsyncJob(Enum):
    """The type of a job (virDomainAsyncJob); the values are libvirt's in the status XML."""

    MIGRATION_OUT = "migration out"
    MIGRATION_IN = "migration in"
    SAVE = "save"
    DUMP = "dump"
    SNAPSHOT = "snapshot"
    BACKUP = "backup"


K = JobKind
DEFAULT_MASK: Final = frozenset({K.QUERY, K.DESTROY, K.ABORT})
#: The calls that may run beside each job. virDomainObjBeginAsyncJob gives the default mask; the
#: functions that begin a job widen it (qemuDomainObjSetAsyncJobMask).
MASKS: Final = {
    AsyncJob.MIGRATION_OUT: DEFAULT_MASK | {K.SUSPEND, K.MIGRATION_OP},
    # The guest is not this host's yet: only its end may come between.
    AsyncJob.MIGRATION_IN: frozenset({K.QUERY, K.DESTROY}),
    AsyncJob.SAVE: DEFAULT_MASK,
    AsyncJob.DUMP: DEFAULT_MASK | {K.SUSPEND, K.MIGRATION_OP},
    AsyncJob.SNAPSHOT: DEFAULT_MASK | {K.SUSPEND, K.MIGRATION_OP},
    # A backup runs for hours: disks and interfaces may be changed meanwhile.
    AsyncJob.BACKUP: DEFAULT_MASK | {K.SUSPEND, K.MODIFY},
}
Outcome = Literal[DomainJobType.COMPLETED, DomainJobType.FAILED, DomainJobType.CANCELLED]


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What outlives the processes that do a job; the worker keeps it in the status XML."""

    job: AsyncJob
    operation: int  # virDomainJobOperation
    started_at: float  # seconds since the epoch
    owner: str  # the call that began it, for errors: "remoteDispatchDomainSave"
    phase: str = ""  # of a migration: the step of its protocol


class JobProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a job is, in bytes and ms; fields are named as libvirt's typed parameters."""

    time_remaining: int | None = None
    downtime: int | None = None
    setup_time: int | None = None
    memory_total: int | None = None
    memory_processed: int | None = None
    memory_remaining: int | None = None
    memory_bps: int | None = None
    memory_constant: int | None = None
    memory_normal: int | None = None
    memory_normal_bytes: int | None = None
    memory_dirty_rate: int | None = None
    memory_page_size: int | None = None
    memory_iteration: int | None = None
    memory_postcopy_requests: int | None = None
    disk_total: int | None = None
    disk_processed: int | None = None
    disk_remaining: int | None = None
    disk_bps: int | None = None
    disk_temp_used: int | None = None  # of a backup's scratch images
    disk_temp_total: int | None = None
    compression_cache: int | None = None
    compression_bytes: int | None = None
    compression_pages: int | None = None
    compression_cache_misses: int | None = None
    compression_overflow: int | None = None

    @staticmethod
    def of_backup(done: int, total: int, *, pull: bool) -> JobProgress:
        """Return the progress of a backup, which says nothing while it is nothing."""
        if not done and not total:
            return JobProgress()
        if pull:
            return JobProgress(disk_temp_used=done, disk_temp_total=total)
        remaining = max(0, total - done)
        return JobProgress(disk_total=total, disk_processed=done, disk_remaining=remaining)


@dataclass(frozen=True, slots=True)
class JobInfo:
    """virDomainJobInfo, in the order of the protocol's fields."""

    type: int = DomainJobType.NONE
    time_elapsed: int = 0  # ms
    time_remaining: int = 0
    data_total: int = 0  # bytes: memory and files together
    data_processed: int = 0
    data_remaining: int = 0
    mem_total: int = 0
    mem_processed: int = 0
    mem_remaining: int = 0
    file_total: int = 0
    file_processed: int = 0
    file_remaining: int = 0


@dataclass(slots=True)
class Job:
    """One job; the code that began it updates and ends it."""

    record: JobRecord
    #: Aborts it, with virDomainAbortJobFlagsValues; None: it cannot be aborted.
    abort: Callable[[int], Awaitable[None]] | None = None
    progress: JobProgress = field(default_factory=JobProgress)
    type: DomainJobType = DomainJobType.UNBOUNDED
    elapsed_ms: int | None = None  # once it has ended
    error: str = ""
    keeps_stats: bool = True  # once it has completed: libvirt's memory-only dump does not
    is_restored: bool = False  # known from its worker's report alone
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def allows(self, kind: JobKind) -> bool:
        """Return whether a call may run beside it."""
        return kind in MASKS[self.record.job]

    def time_elapsed(self) -> int:
        """Return the milliseconds since its begin, or between begin and end."""
        if self.elapsed_ms is not None:
            return self.elapsed_ms
        return max(0, int((time.time() - self.record.started_at) * 1000))

    def info(self) -> JobInfo:
        """Return what virDomainGetJobInfo does."""
        at = self.progress
        memory = (at.memory_total or 0, at.memory_processed or 0, at.memory_remaining or 0)
        files = (at.disk_total or 0, at.disk_processed or 0, at.disk_remaining or 0)
        both = (memory[0] + files[0], memory[1] + files[1], memory[2] + files[2])
        times = (self.time_elapsed(), at.time_remaining or 0)
        return JobInfo(self.type, *times, *both, *memory, *files)

    def stats(self) -> list[TypedParam]:
        """Return what virDomainGetJobStats does."""
        values: dict[str, TypedValue] = {
            "operation": Int(self.record.operation),
            "time_elapsed": ULLong(self.time_elapsed()),
        }
        for name in self.progress.__struct_fields__:
            value = getattr(self.progress, name)
            if value is not None:
                values[name] = ULLong(value)
        info = self.info()
        if self.record.job is AsyncJob.BACKUP:
            if self.type is not DomainJobType.UNBOUNDED:
                values["success"] = Boolean(self.type is DomainJobType.COMPLETED)
        elif info.data_total:
            values["data_total"] = ULLong(info.data_total)
            values["data_processed"] = ULLong(info.data_processed)
            values["data_remaining"] = ULLong(info.data_remaining)
        if self.error:
            values["errmsg"] = String(self.error)
        return params(values)


class DomainJobs:
    """The jobs of one domain."""

    __slots__ = ("_errors", "_lock", "completed", "current")

    def __init__(self, lock: ChangeLock, errors: ServiceErrors) -> None:
        self._lock = lock
        self._errors = errors
        self.current: Job | None = None
        self.completed: Job | None = None  # the last one: VIR_DOMAIN_JOB_STATS_COMPLETED

    def hold(self, call: str, kind: JobKind = JobKind.MODIFY, timeout_s: float = JOB_S) -> HeldJob:
        """Hold the change lock while the body runs, once the job under way lets the call in.

        Args:
            call: names the holder in others' errors.
            kind: what the call does.
            timeout_s: the longest wait for job and lock together.

        Raises:
            VirError: OPERATION_TIMEOUT: the job or another call lasts too long; OPERATION_FAILED:
                too many calls wait.
        """
        return HeldJob(self, call, kind, timeout_s)

    async def acquire(self, call: str, kind: JobKind, timeout_s: float) -> None:
        """Take the change lock as `hold` does; the caller must release it."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            await self._wait_allowed(call, kind, deadline - loop.time())
            await self._lock.acquire(call, max(0.0, deadline - loop.time()))
            # Another call can have begun a job while this one waited for the lock.
            if self.current is None or self.current.allows(kind):
                return
            self._lock.release()

    def release(self) -> None:
        """Release the change lock."""
        self._lock.release()

    async def _wait_allowed(self, call: str, kind: JobKind, timeout_s: float) -> None:
        job = self.current
        if job is None or job.allows(kind):
            return
        try:
            async with asyncio.timeout(max(0.0, timeout_s)):
                await job.ended.wait()
        except TimeoutError:
            detail = (
                f"cannot acquire state change lock (held by {job.record.owner}, "
                f"job '{job.record.job.value}') of '{self._lock.name}' for {call}"
            )
            raise self._errors.operation_timeout(detail) from None

    def begin(
        self,
        job: AsyncJob,
        operation: Operation,
        owner: str,
        abort: Callable[[int], Awaitable[None]] | None = None,
    ) -> Job:
        """Begin a job; the caller holds the change lock as `JobKind.ASYNC`, and may release it."""
        assert self.current is None, "JobKind.ASYNC is in no mask"
        record = JobRecord(job=job, operation=operation, started_at=time.time(), owner=owner)
        self.current = Job(record, abort)
        return self.current

    def restore(self, record: JobRecord | None) -> None:
        """Record what a worker reports: a job that goes on without the domd that began it.

        A job of this process is left alone: its owner learns of its end by itself.
        """
        current = self.current
        if record is None:
            if current is not None and current.is_restored:
                self.end(current, DomainJobType.FAILED, "its outcome was not reported")
        elif current is None:
            self.current = Job(record, is_restored=True)

    def end(self, job: Job, outcome: Outcome, error: str = "") -> None:
        """End a job: the calls that it held off go on; a completed one is the last from now on."""
        job.elapsed_ms = job.time_elapsed()
        job.type, job.error = outcome, error
        if self.current is job:
            self.current = None
            # libvirt keeps the statistics of what succeeded, and of any backup.
            completed = outcome is DomainJobType.COMPLETED and job.keeps_stats
            if completed or job.record.job is AsyncJob.BACKUP:
                self.completed = job
        job.ended.set()

    def discard(self, job: Job) -> None:
        """End a job that did not begin after all: nothing is kept of it."""
        job.elapsed_ms = job.time_elapsed()
        job.type = DomainJobType.FAILED
        if self.current is job:
            self.current = None
        job.ended.set()

    async def abort(self, flags: int) -> None:
        """Abort the present job; its owner ends it.

        Raises:
            VirError: OPERATION_INVALID: there is none, or it cannot be aborted.
        """
        job = self.current
        if job is None:
            raise self._errors.operation_invalid("no job is active on the domain")
        if job.record.job is AsyncJob.MIGRATION_IN:
            raise self._errors.operation_invalid(
                "cannot abort incoming migration; use virDomainDestroy instead"
            )
        if job.abort is None:
            raise self._errors.operation_invalid(
                f"cannot abort job '{job.record.job.value}' of domain '{self._lock.name}'"
            )
        await job.abort(flags)


class HeldJob:
    """The change lock of a domain while a body runs (`DomainJobs.hold`).

    A class: two nested generators take a tenth of the time of a small change.
    """

    __slots__ = ("_call", "_jobs", "_kind", "_timeout_s")

    def __init__(self, jobs: DomainJobs, call: str, kind: JobKind, timeout_s: float) -> None:
        self._jobs, self._call, self._kind, self._timeout_s = jobs, call, kind, timeout_s

    async def __aenter__(self) -> None:
        await self._jobs.acquire(self._call, self._kind, self._timeout_s)

    async def __aexit__(self, *_: object) -> None:
        self._jobs.release()
