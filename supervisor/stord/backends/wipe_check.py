"""Check that a device is blank before `build` overwrites it.

Owns: that check. May touch: the device, to read, by blkid.
"""

from __future__ import annotations

from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.stord import commands
from supervisor.stord.backends import mounts

NOTHING_FOUND: Final = 2  # blkid's exit status


async def require_blank(device: str) -> None:
    """Refuse a device with a file system or partition table.

    Raises:
        VirError: OPERATION_FAILED; INTERNAL_ERROR when blkid fails.
    """
    argv = mounts.plan_blkid(device)
    completed = await commands.run(argv)
    if completed.code == NOTHING_FOUND:
        return
    if completed.code != 0:
        raise commands.failed(argv, completed)
    content = " ".join(completed.output.split())
    detail = f"device '{device}' contains '{content}'; pass the overwrite flag to destroy it"
    raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.STORAGE)
