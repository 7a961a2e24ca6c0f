"""virDomain calls about backups: begin one, describe the one that runs.

Owns: one method per procedure, named as in the table; a backup's life as a job of its domain.
May touch: guests, through their workers. May not touch: images.
Source: libvirt 9.0, qemuBackupBegin, qemuBackupGetXMLDesc.

The job begins with the call and goes on after it: the worker's reports say when it has ended
(`JobReports.restore`), also to a domd that did not begin it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Final

from conf.backup.align import align_disks, prepare_server
from conf.backup.model import SCHEMA, Backup, format_backup, parse_backup
from conf.checkpoint.model import Checkpoint
from conf.errors import ConfError
from conf.mapper import parse_root
from ipc import BusError, DeadlineExceeded, NoSuchService, PeerGone
from rpc.enums import DomainBackupBeginFlags, DomainJobOperation
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Domain as DomainId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.errors import from_conf_error
from supervisor.dispatch.schema import require_valid
from supervisor.domd.checkpoints.create import CheckpointCreator
from supervisor.domd.checkpoints.store import CheckpointStore
from supervisor.domd.domain import DomainObject
from supervisor.domd.registry import DomainRegistry
from supervisor.domd.running_domains import RunningDomains
from supervisor.domd.workers import Workers, no_reply_in_time
from supervisor.messages.block import BeginBackup
from supervisor.messages.worker import DomainStatus
from supervisor.objects.job import AsyncJob, Job, JobKind
from supervisor.runtime.shield import run_to_completion

SETTLED_S: Final = 30.0  # for a new worker to undo what its predecessor had begun
RETRY_S: Final = 0.05
CALL: Final = "remoteDispatchDomainBackupBegin"


class BackupCalls:
    """The backups of one driver's domains."""

    def __init__(
        self,
        registry: DomainRegistry,
        domains: RunningDomains,
        workers: Workers,
        checkpoints: CheckpointStore,
        creator: CheckpointCreator,
    ) -> None:
        self._checkpoints = checkpoints
        self._creator = creator
        self._registry = registry
        self._errors = registry.errors
        self._domains = domains
        self._workers = workers

    async def domain_backup_begin(
        self,
        call: ClientCall,
        dom: DomainId,
        backup_xml: str,
        checkpoint_xml: str | None,
        flags: int,
    ) -> None:
        """Begin a backup of a running guest's disks.

        Raises:
            VirError: XML_INVALID_SCHEMA, XML_ERROR; OPERATION_UNSUPPORTED: the domain is off;
                CONFIG_UNSUPPORTED: a disk cannot be backed up so; OPERATION_TIMEOUT: another job
                lasts too long; the worker's.
        """
        self._errors.check_flags("BackupBegin", flags, DomainBackupBeginFlags.REUSE_EXTERNAL)
        domain = self._registry.find(dom)
        await require_valid(backup_xml, SCHEMA, Backup, requested=1)
        backup = _parse(backup_xml)
        checkpoint = None
        if checkpoint_xml is not None:
            checkpoint = await self._creator.parse(checkpoint_xml)
        reuse = bool(flags & DomainBackupBeginFlags.REUSE_EXTERNAL)
        # To its end: a backup that a client's end had cut short would be unknown to its domain.
        await run_to_completion(self._begin(domain, backup, checkpoint, reuse=reuse))

    async def _begin(
        self, domain: DomainObject, backup: Backup, checkpoint: Checkpoint | None, *, reuse: bool
    ) -> None:
        async with domain.jobs.hold(CALL, JobKind.ASYNC):
            if not domain.is_active:
                detail = "cannot perform disk backup for inactive domain"
                raise domain.errors.operation_unsupported(detail)
            self._prepare(domain, backup, checkpoint)
            if checkpoint is not None:
                await self._creator.prepare(domain, checkpoint)
            await self._check_since(domain, backup, checkpoint)
            job = domain.jobs.begin(
                AsyncJob.BACKUP,
                DomainJobOperation.BACKUP,
                CALL,
                lambda _: self._domains.jobs.abort(domain),
            )
            request = BeginBackup(
                job=job.record,
                xml=format_backup(backup),
                reuse=reuse,
                checkpoint=checkpoint.name if checkpoint is not None else "",
                checkpoint_disks=tuple(checkpoint.noted) if checkpoint is not None else (),
            )
            try:
                if checkpoint is None:
                    status = await self._request(domain, request)
                else:
                    async with self._creator.making(domain, checkpoint):
                        status = await self._request(domain, request)
            except BaseException:
                self._failed(domain, job)
                raise
            # From now on the worker's reports say what becomes of it.
            job.is_restored = True
            if domain.is_active:
                self._domains.apply_status(domain, status)

    def _prepare(self, domain: DomainObject, backup: Backup, checkpoint: Checkpoint | None) -> None:
        """Complete a backup with the guest's disks.

        Raises:
            VirError: they cannot be backed up so.
        """
        try:
            prepare_server(backup)
        except ConfError as error:
            raise from_conf_error(error, domain.errors.domain) from error
        try:
            suffix = checkpoint.name if checkpoint is not None else str(int(time.time()))
            align_disks(backup, domain.current.domain, suffix)
        except ConfError as error:
            raise from_conf_error(error, ErrorDomain.DOMAIN) from error
        if not backup.selected:
            detail = "no disks selected for backup"
            raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, domain.errors.domain)

    async def _check_since(
        self, domain: DomainObject, backup: Backup, checkpoint: Checkpoint | None
    ) -> None:
        """Refuse an incremental backup since a checkpoint that there is not.

        Raises:
            VirError: NO_DOMAIN_CHECKPOINT.
        """
        for disk in backup.selected:
            name = disk.incremental
            if not name or (checkpoint is not None and checkpoint.name == name):
                continue  # the new one has no bitmap yet, which is another error
            if (await self._checkpoints.tree(domain)).get(name) is None:
                detail = (
                    f"Checkpoint '{name}' for incremental backup of disk '{disk.name}' not found"
                )
                raise domain.errors.error(ErrorCode.NO_DOMAIN_CHECKPOINT, detail)

    async def _request(self, domain: DomainObject, request: BeginBackup) -> DomainStatus:
        """Have the worker begin it; if it dies, its successor says whether it has begun.

        Raises:
            VirError: it has not.
        """
        try:
            return await self._workers.call(domain, request)
        except (PeerGone, NoSuchService) as lost:
            status = await self._wait_settled(domain, request)
            if status is None:
                detail = (
                    f"the worker process of '{domain.name}' died when it began the backup, and its "
                    "successor does not say what became of it"
                )
                raise domain.errors.operation_failed(detail) from lost
            if status.job == request.job:
                return status
        except DeadlineExceeded as error:
            raise no_reply_in_time(domain, request, error) from error
        except BusError as error:
            detail = f"the worker process of '{domain.name}' failed in the backup: {error}"
            raise domain.errors.operation_failed(detail) from error
        # Not from the lost link: that the backup is undone is known.
        detail = f"the worker process of '{domain.name}' died when it began the backup: undone"
        raise domain.errors.operation_failed(detail)

    async def _wait_settled(
        self, domain: DomainObject, request: BeginBackup
    ) -> DomainStatus | None:
        """Return the guest's status once its new worker goes on with a backup, or has undone it."""
        with contextlib.suppress(TimeoutError, BusError, VirError):
            async with asyncio.timeout(SETTLED_S):
                while (status := (await self._workers.get_status(domain)).guest) is not None:
                    if status.job != request.job or status.backup:
                        return status
                    await asyncio.sleep(RETRY_S)
        return None

    def _failed(self, domain: DomainObject, job: Job) -> None:
        """End the job of a backup that has not begun, or leave it to the worker to end."""
        runtime = domain.runtime
        if runtime is not None and runtime.status.job == job.record and runtime.status.backup:
            job.is_restored = True
        else:
            domain.jobs.discard(job)

    def domain_backup_get_xml_desc(self, call: ClientCall, dom: DomainId, flags: int) -> str:
        """Describe the backup that runs.

        Raises:
            VirError: NO_DOMAIN_BACKUP: none does.
        """
        self._errors.check_flags("BackupGetXMLDesc", flags)
        domain = self._registry.find(dom)
        xml = domain.runtime.status.backup if domain.runtime is not None else ""
        if not xml:
            detail = "no domain backup job present"
            raise VirError(ErrorCode.NO_DOMAIN_BACKUP, detail, ErrorDomain.QEMU)
        return xml


def _parse(xml: str) -> Backup:
    """Read a client's document.

    Raises:
        VirError: XML_DETAIL, XML_ERROR.
    """
    try:
        root = parse_root(Backup, xml)
    except ConfError as error:
        # libvirt's parser of XML reports another root element itself.
        domain = ErrorDomain.XML if error.kind == "xml" else ErrorDomain.DOMAIN
        raise from_conf_error(error, domain) from error
    try:
        return parse_backup(root)
    except ConfError as error:
        raise from_conf_error(error, ErrorDomain.DOMAIN) from error
