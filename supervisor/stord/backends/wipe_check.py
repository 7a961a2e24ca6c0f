"""Looking whether a device has something on it that building a pool would destroy.

Owns: that question. May touch: the device, to read, by blkid.
"""

from __future__ import annotations

from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.stord import commands
from supervisor.stord.backends import mounts

NOTHING_THERE: Final = 2  # blkid's exit status


async def refuse_used(device: str) -> None:
    """Refuse to lose what is on a device.

    Raises:
        VirError: OPERATION_FAILED; INTERNAL_ERROR when it cannot be looked at.
    """
    argv = mounts.plan_probe(device)
    ended = await commands.run(argv)
    if ended.code == NOTHING_THERE:
        return
    if ended.code != 0:
        raise commands.failed(argv, ended)
    detail = (
        f"device '{device}' has '{' '.join(ended.output.split())}' on it: build with the overwrite "
        "flag if that is to be lost"
    )
    raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.STORAGE)
