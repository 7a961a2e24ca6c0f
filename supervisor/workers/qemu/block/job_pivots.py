"""Has a guest use what a copy or an active commit has made of its disk: the pivot.

Owns: what comes before QEMU is asked to complete such a job, and asking. May touch: QEMU, by QMP.
Source: libvirt 9.0, qemuDomainBlockPivot.
"""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from typing import Final

from conf.domain.devices.disk import Disk
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.objects.block_job import BlockJobKind, BlockJobRecord, BlockJobState
from supervisor.workers.qemu.block import job_bitmaps
from supervisor.workers.qemu.block.live_disks import find_disk
from supervisor.workers.qemu.block.mirrors import add_backing_nodes, mirror_layers
from supervisor.workers.qemu.block.nodes import layer_nodes
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.qmp.monitor import QmpError

START_S: Final = 20.0  # QEMU drains the guest's requests first

log = logging.getLogger(__name__)


async def pivot(guest: Guest, disk: Disk, record: BlockJobRecord) -> None:
    """Have the guest use what a copy or an active commit has made.

    Raises:
        VirError: OPERATION_INVALID: such a job has nothing to pivot to; BLOCK_COPY_ACTIVE: it is
            not ready.
    """
    if record.state is not BlockJobState.READY:
        detail = f"block job '{record.id}' not ready for pivot yet"
        raise VirError(ErrorCode.BLOCK_COPY_ACTIVE, detail, ErrorDomain.QEMU)
    if record.kind not in (BlockJobKind.COPY, BlockJobKind.ACTIVE_COMMIT):
        detail = f"job type '{record.kind}' does not support pivot"
        raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.QEMU)
    if record.late_chain:
        await attach_late_chain(guest, disk, record)
    await job_bitmaps.before_pivot(guest, disk, record)
    record.state = BlockJobState.PIVOTING
    if disk.mirror is not None:
        disk.mirror.ready = "pivot"
    guest.update_xml()
    try:
        await guest.monitor.execute("job-complete", {"id": record.id}, timeout_s=START_S)
    except VirError:
        # The job is still there: the guest goes on with the old image.
        record.state = BlockJobState.READY
        if disk.mirror is not None:
            disk.mirror.ready = "yes"
        guest.update_xml()
        raise


async def pivot_by_itself(guest: Guest, record: BlockJobRecord) -> None:
    """Pivot a job that nobody else does it for; one that cannot be is cancelled.

    The disk then has its old image, and whoever waits for the job hears of it.
    """
    try:
        await pivot(guest, find_disk(guest.domain, record.target), record)
        guest.update_and_publish()
    except VirError as error:
        log.warning("%s: block job %s is cancelled: %s", guest.name, record.id, error)
        await cancel(guest, record)


async def cancel(guest: Guest, record: BlockJobRecord) -> None:
    """Have QEMU cancel a job that may be cancelled already."""
    try:
        await guest.monitor.execute("block-job-cancel", {"device": record.id}, timeout_s=START_S)
    except (QmpError, VirError) as error:
        log.warning("%s: block job %s: %s", guest.name, record.id, error)


async def attach_late_chain(guest: Guest, disk: Disk, record: BlockJobRecord) -> None:
    """Open the images below a copy that was made beforehand, and put the copy on top of them.

    Raises:
        VirError: QEMU refuses; the job goes on.
    """
    copied = mirror_layers(disk)
    if len(copied) > 1:
        async with AsyncExitStack() as undo:
            below = await add_backing_nodes(guest, disk, copied[1:], undo)
            overlay = layer_nodes(copied[0], read_only=False).format_name
            action = {"type": "blockdev-snapshot", "data": {"node": below, "overlay": overlay}}
            await guest.monitor.execute("transaction", {"actions": [action]})
            undo.pop_all()
    record.late_chain = False
    guest.save()
