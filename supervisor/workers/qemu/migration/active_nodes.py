"""Whether a guest's memory can be saved beside what its disks do.

Owns: that check. May touch: QEMU, by QMP: it ends jobs that make images for nobody.
Source: QEMU 7.2, bdrv_inactivate_recurse: the end of a migration inactivates every block node, and
fails with EPERM where a job still has the right to write to one. It does so when the memory is
written already, so this is found out before.
"""

from __future__ import annotations

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers.qemu.block.job_commands import end_create_jobs, query_jobs
from supervisor.workers.qemu.block.job_waits import CONCLUDED
from supervisor.workers.qemu.guest import Guest


async def refuse_block_jobs(guest: Guest) -> None:
    """Refuse to save the memory while QEMU has a job that writes to a disk's images.

    domd has refused what it knows of. A worker that it has lost meanwhile, or a QEMU that was slow
    to reply, may have begun more.

    Raises:
        VirError: OPERATION_INVALID; QEMU does not reply.
    """
    async with guest.device_lock:  # the end of a job is under way under it
        if not guest.status.block_jobs:
            await end_create_jobs(guest)
            if all(job.status == CONCLUDED for job in (await query_jobs(guest)).values()):
                return
    raise VirError(ErrorCode.OPERATION_INVALID, "domain has active block job", ErrorDomain.QEMU)
