"""File systems of the guest, frozen by its agent while something is done.

Owns: that they are thawed again. May touch: the guest's agent.
Source: libvirt 9.0, qemuSnapshotCreateActiveExternal.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rpc.errors import VirError
from supervisor.workers.qemu.agent.filesystems import freeze, thaw
from supervisor.workers.qemu.guest import Guest

log = logging.getLogger(__name__)


@asynccontextmanager
async def frozen(guest: Guest, *, wanted: bool) -> AsyncIterator[None]:
    """Have the file systems frozen while the body runs, if that is wanted.

    Raises:
        VirError: AGENT_UNRESPONSIVE and others of `guest_agent`; what the body raises.
    """
    if not wanted:
        yield
        return
    count = await freeze(guest)
    try:
        yield
    except BaseException:
        if count > 0:
            try:
                await thaw(guest)
            except VirError as error:
                log.error("%s: file systems are not thawed: %s", guest.name, error)
        raise
    if count > 0:
        await thaw(guest)
