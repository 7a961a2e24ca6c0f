"""The begin of a block job: recorded before QEMU has it, and never without anybody who knows of it.

Owns: that order. May touch: the status file; QEMU, by QMP.
"""

from __future__ import annotations

from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.objects.block_job import BlockJobRecord, BlockJobState
from supervisor.objects.job import AsyncJob
from supervisor.workers.qemu.block.job_ends import forget_job, settle_unanswered
from supervisor.workers.qemu.block.job_pivots import START_S
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.qmp.monitor import QmpError

#: Jobs at whose end QEMU inactivates every block node.
SAVING: Final = (AsyncJob.SAVE, AsyncJob.SNAPSHOT)


async def begin_job(
    guest: Guest, record: BlockJobRecord, command: str, arguments: dict[str, object]
) -> None:
    """Have QEMU begin a job, which the status file has before QEMU does.

    Raises:
        VirError: QEMU refuses, and the record is removed again; or QEMU does not reply: what it has
            begun is cancelled as soon as it does. OPERATION_INVALID: the guest's memory is saved.
    """
    refuse_saving(guest)
    guest.status.block_jobs = [*guest.status.block_jobs, record]
    guest.save()
    try:
        await guest.monitor.execute(command, arguments, timeout_s=START_S)
    except QmpError:
        forget_job(guest, record)
        guest.save()
        raise
    except VirError:
        record.state = BlockJobState.ABORTING
        guest.save()
        guest.run(settle_unanswered(guest))
        raise
    if record.state is BlockJobState.NEW:
        record.state = BlockJobState.RUNNING
    guest.update_xml()


def refuse_saving(guest: Guest) -> None:
    """Refuse a job on a disk's images while the memory is saved.

    Raises:
        VirError: OPERATION_INVALID.
    """
    job = guest.status.job
    if job is not None and job.job in SAVING:
        detail = f"'{guest.name}' has job '{job.job.value}' of {job.owner}"
        raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.QEMU)
