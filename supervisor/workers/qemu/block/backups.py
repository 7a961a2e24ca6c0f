"""Begins backups of a running guest's disks, and says how far they are.

Owns: the order: record, files, nodes, NBD server, one transaction, exports.
May touch: QEMU, by QMP; new files; hostd, for the secret of the server's key.
Source: libvirt 9.0, qemuBackupBegin and its callees.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from conf.backup.model import Backup, format_backup, read_backup
from conf.domain.devices.disk import Disk
from conf.domain.devices.disk_chain import Layer
from conf.settings import QemuConfig
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.images.new_qcow2 import NewQcow2, NotSupported, Shape, new_qcow2
from supervisor.messages.block import BeginBackup
from supervisor.messages.hostd import GetSecret
from supervisor.objects.backup_job import BackupDiskRecord, BackupRecord, DiskState
from supervisor.objects.block_job import BlockJobKind, BlockJobRecord, BlockJobState
from supervisor.objects.job import AsyncJob, JobProgress
from supervisor.workers.qemu.argv.secrets import secret_object
from supervisor.workers.qemu.block.backup_ends import abort_backup, finish, remove_bitmaps, undo
from supervisor.workers.qemu.block.backup_plan import (
    TLS_SECRET_ID,
    DiskPlan,
    server_arguments,
    socket_of,
    tls_arguments,
    transaction,
)
from supervisor.workers.qemu.block.image_nodes import (
    NewImage,
    PlannedImage,
    add_planned,
    add_steps,
    plan_context,
    plan_image,
)
from supervisor.workers.qemu.block.job_commands import QemuJob
from supervisor.workers.qemu.block.live_disks import check_supports_jobs, find_disk, job_of
from supervisor.workers.qemu.block.new_files import make_file
from supervisor.workers.qemu.block.node_facts import NodeFacts, find_facts, take_numbers
from supervisor.workers.qemu.block.nodes import layer_nodes, live_nodes
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.hotplug.file_owners import chown_files
from supervisor.workers.qemu.hotplug.qmp_steps import qmp_step
from supervisor.workers.qemu.qmp.monitor import Query

CERTIFICATES_S: Final = 30.0  # to read them, and to derive the key's key on a busy host
TRANSACTION_S: Final = 20.0  # QEMU drains the guest's requests first
BACKUP_CERTIFICATES: Final = "/etc/pki/libvirt-backup"  # used without a setting if it is there


async def begin_backup(guest: Guest, request: BeginBackup) -> None:
    """Begin a backup; the caller holds the device lock.

    Raises:
        ConfError, VirError: as the message says.
    """
    if guest.status.job is not None:
        owner = guest.status.job.owner
        detail = f"'{guest.name}' has job '{guest.status.job.job.value}' of {owner} already"
        raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.QEMU)
    backup = read_backup(request.xml)
    disks = [find_disk(guest.domain, item.name) for item in backup.selected]
    facts = await find_facts(guest, disks)
    plans = _plan(guest, backup, take_numbers(guest, (), len(disks)))
    tops = [
        live_nodes(find_disk(guest.domain, target)).images[0].format_name
        for target in request.checkpoint_disks
    ]
    actions = transaction(plans, facts.bitmaps, request.checkpoint, tops)
    _record(guest, request, backup, plans, [(top, request.checkpoint) for top in tops])
    record = guest.status.backup
    assert record is not None, "just made"
    try:
        async with AsyncExitStack() as nodes:
            stores = [
                await _make_store(guest, request, disk, plan, facts)
                for disk, plan in zip(record.disks, plans, strict=True)
            ]
            guest.save()  # the files' owners
            there = [store.planned for store in stores if store.new is None]
            # In one round trip.
            await add_steps(guest, [step for one in there for step in one.steps], nodes)
            for store in stores:
                if store.new is not None:
                    await add_planned(guest, store.planned, nodes, new=store.new)
            if backup.is_pull:
                await _start_server(guest, backup)
            arguments = {"actions": actions}
            await guest.monitor.execute("transaction", arguments, timeout_s=TRANSACTION_S)
            nodes.pop_all()
    except BaseException:
        await undo(guest)
        raise
    await _export(guest, record, plans)


def _plan(guest: Guest, backup: Backup, index: int) -> list[DiskPlan]:
    """Check the disks, and give their stores numbers.

    Raises:
        VirError: a disk cannot be backed up.
    """
    plans = []
    for number, item in enumerate(backup.selected):
        disk = find_disk(guest.domain, item.name)
        check_supports_jobs(disk)
        if job_of(guest.status, item.name) is not None:
            detail = f"disk '{item.name}' has a blockjob assigned"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU)
        item.index = index + number
        chain = tuple(image.format_name for image in live_nodes(disk).images)
        store = layer_nodes(item.layer, read_only=False).format_name
        plans.append(DiskPlan(item, chain, store, backup.is_pull))
    return plans


def _record(
    guest: Guest,
    request: BeginBackup,
    backup: Backup,
    plans: Sequence[DiskPlan],
    checkpoint: list[tuple[str, str]],
) -> None:
    """Record what is about to be made: whoever comes after this worker can remove it."""
    status = guest.status
    status.job = request.job
    status.backup = BackupRecord(
        xml=format_backup(backup),
        pull=backup.is_pull,
        reuse=request.reuse,
        disks=[
            BackupDiskRecord(
                target=plan.item.name,
                job=plan.job,
                node=plan.bitmap_node,
                bitmap=plan.bitmap,
            )
            for plan in plans
        ],
        checkpoint=checkpoint,
        socket=socket_of(backup),
        tls=backup.server is not None and bool(backup.server.tls),
    )
    status.block_jobs = [
        *status.block_jobs,
        *(
            BlockJobRecord(id=plan.job, kind=BlockJobKind.BACKUP, target=plan.item.name)
            for plan in plans
        ),
    ]
    guest.save()


@dataclass(frozen=True, slots=True)
class Store:
    """A target or scratch image whose file is there."""

    planned: PlannedImage
    new: NewImage | None  # what QEMU is to make of the file; None: it is an image already


async def _make_store(
    guest: Guest,
    request: BeginBackup,
    record: BackupDiskRecord,
    plan: DiskPlan,
    facts: NodeFacts,
) -> Store:
    """Make the file of a target or scratch image; the caller saves the status.

    Raises:
        VirError: INVALID_ARG: the file is there; SYSTEM_ERROR.
    """
    layer, disk = plan.item.layer, find_disk(guest.domain, record.target)
    new = None if request.reuse else NewImage(facts.shape_of(record.target))
    if new is not None and plan.item.created_path:
        image = _lay_out(layer, new.shape)
        await asyncio.to_thread(_create, guest, record, plan.item.created_path, image)
        new = new if image is None else None
    elif layer.path:
        await asyncio.to_thread(_require, layer.path)
    await chown_files(guest, Disk(type=layer.type, source=layer.source), saves=False)
    # Without the disk's cache mode and discards: the image is nothing of the guest's.
    holder = Disk(type=layer.type, source=layer.source, target=disk.target)
    below = plan.chain[0] if plan.pull else None
    return Store(await plan_image(guest, holder, layer, below=below), new)


def _lay_out(layer: Layer, shape: Shape) -> NewQcow2 | None:
    """Lay out an empty image; None: QEMU is to make it."""
    if layer.format != "qcow2" or layer.source.encryption is not None:
        return None
    try:
        return new_qcow2(shape)
    except NotSupported:
        return None


def _create(guest: Guest, record: BackupDiskRecord, path: str, image: NewQcow2 | None) -> None:
    """Make a store's file, and an image of it.

    Raises:
        VirError: INVALID_ARG: there is one; SYSTEM_ERROR.
    """
    record.created, record.is_creating = path, True
    if not os.path.lexists(path):
        guest.save()
        file = make_file(path)
        if file is not None:
            record.is_creating = False
            guest.save()
            try:
                if image is not None:
                    file.write(image)
            finally:
                file.close()
            return
    record.created, record.is_creating = "", False
    detail = f"store '{path}' for backup of '{record.target}' exists"
    raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.QEMU)


def _require(path: str) -> None:
    """Refuse an image that is not there.

    Raises:
        VirError: SYSTEM_ERROR.
    """
    try:
        os.stat(path)
    except OSError as error:
        detail = f"unable to stat: {path}: {error.strerror}"
        code = ErrorCode.SYSTEM_ERROR
        raise VirError(code, detail, ErrorDomain.SECURITY, int1=error.errno or -1) from error


# The NBD server of a pull.


async def _start_server(guest: Guest, backup: Backup) -> None:
    """Have QEMU listen for the backup's clients.

    Raises:
        ConfError, VirError: QEMU refuses; the secret of the key is missing.
    """
    server = backup.server
    assert server is not None, "a prepared pull has one"
    tls = bool(server.tls)
    if tls:
        await _add_certificates(guest)
    await guest.monitor.execute("nbd-server-start", server_arguments(server, tls=tls))


async def _add_certificates(guest: Guest) -> None:
    config = guest.context.config
    secret = config.backup_tls_x509_secret_uuid or config.default_tls_x509_secret_uuid
    if secret:
        request = GetSecret(usage_type="tls", uuid=secret, usage="")
        value = (await guest.context.node.link("hostd").call(request)).value
        context = await plan_context(guest, guest.domain.devices.disks[0], [])
        step = qmp_step(*secret_object(context, TLS_SECRET_ID, value))
        await guest.monitor.execute(step.command, step.arguments)
    arguments = tls_arguments(
        certificates_folder(config),
        verify=config.backup_tls_x509_verify,
        with_secret=bool(secret),
    )
    await guest.monitor.execute("object-add", arguments, timeout_s=CERTIFICATES_S)


def certificates_folder(config: QemuConfig) -> str:
    """Return the folder of the server's certificates.

    Source: libvirt 9.0, virQEMUDriverConfigSetDefaults.
    """
    if config.backup_tls_x509_cert_dir:
        return config.backup_tls_x509_cert_dir
    if os.path.exists(BACKUP_CERTIFICATES):
        return BACKUP_CERTIFICATES
    return config.default_tls_x509_cert_dir


async def _export(guest: Guest, backup: BackupRecord, plans: Sequence[DiskPlan]) -> None:
    """Export the scratch images; from now on the backup ends as its jobs do.

    Raises:
        VirError: QEMU refuses an export; the backup is being ended.
    """
    try:
        for plan in plans:
            if plan.pull:
                await guest.monitor.execute("block-export-add", plan.export_arguments)
    except VirError as error:
        backup.error = str(error)
        await remove_bitmaps(guest, backup.checkpoint)
        _set_begun(guest, backup)
        await abort_backup(guest)
        raise
    _set_begun(guest, backup)


def _set_begun(guest: Guest, backup: BackupRecord) -> None:
    backup.began = True
    for disk in backup.disks:
        if disk.state is DiskState.NONE:
            disk.state = DiskState.RUNNING
    for record in guest.status.block_jobs:
        if record.kind is BlockJobKind.BACKUP and record.state is BlockJobState.NEW:
            record.state = BlockJobState.RUNNING
    guest.save()
    guest.publish_status()


# Its progress, and taking it over.


async def progress(guest: Guest) -> JobProgress:
    """Return how far the backup is.

    Raises:
        VirError: OPERATION_INVALID: there is none; QEMU does not reply.
    """
    backup = guest.status.backup
    if backup is None:
        detail = "no domain backup job present"
        raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.QEMU)
    # QEMU answers nothing while it copies: what it said last is good enough.
    listed = await guest.replies.get_list(Query("query-jobs", list[QemuJob]), QemuJob)
    jobs = {job.id: job for job in listed}
    done, total = backup.done, backup.total
    for disk in backup.disks:
        job = jobs.get(disk.job) if not disk.state.is_ended else None
        if job is not None:
            done += job.current_progress
            total += job.total_progress
    return JobProgress.of_backup(done, total, pull=backup.pull)


async def settle_backup(guest: Guest) -> None:
    """Undo a backup that a previous worker began and died over; the caller holds the device lock.

    Whether QEMU has its checkpoint is known after that.
    """
    if guest.status.backup is not None and not guest.status.backup.began:
        await undo(guest)


async def resume_backup(guest: Guest) -> None:
    """Undo a backup that a previous worker died over, or finish one whose jobs have all ended."""
    backup, job = guest.status.backup, guest.status.job
    if backup is None:
        if job is not None and job.job is AsyncJob.BACKUP:
            guest.status.job = None
            guest.save()
            guest.publish_status()
        return
    if not backup.began:
        await settle_backup(guest)
    elif backup.is_ended:
        await finish(guest)
    elif any(
        record.kind is BlockJobKind.BACKUP and record.state is BlockJobState.ABORTING
        for record in guest.status.block_jobs
    ):
        await abort_backup(guest)  # QEMU may not have been told
