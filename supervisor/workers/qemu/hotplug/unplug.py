"""Asks a guest to release a device, and waits for its answer.

Owns: `device_del` and its deadline. May touch: QEMU, by QMP.
May not touch: what is to be done once a device is gone (`detach`, `vcpus`).

`device_del` of a PCI or SCSI device, a memory module or a vcpu only asks the guest, which may take
minutes, ignore it, or refuse.
Source: libvirt 9.0, qemuDomainWaitForDeviceRemoval.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers.qemu.guest import Guest

UNPLUG_S: Final = 5.0  # for DEVICE_DELETED, as with libvirt

log = logging.getLogger(__name__)


async def unplug(guest: Guest, alias: str, wait_s: float | None = None) -> bool:
    """Ask the guest to release a device, and wait `UNPLUG_S`, or as long as is said.

    Returns:
        Whether it has done so in time; it may do so later.

    Raises:
        VirError: QEMU refuses; OPERATION_FAILED: the guest does.
    """
    released = guest.unplugged.get(alias)
    if released is None:
        released = guest.unplugged[alias] = asyncio.get_running_loop().create_future()
    try:
        await guest.monitor.execute("device_del", {"id": alias})
        await asyncio.wait({released}, timeout=UNPLUG_S if wait_s is None else wait_s)
    finally:
        guest.unplugged.pop(alias, None)
    if not released.done():
        log.info("%s: the guest has not released %s yet", guest.name, alias)
        return False
    if not released.result():
        detail = "unplug of device was rejected by the guest"
        raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.QEMU)
    return True


def note_answer(guest: Guest, alias: str, *, released: bool) -> None:
    """Note what the guest did with a request to release a device."""
    waiting = guest.unplugged.pop(alias, None)
    if waiting is not None and not waiting.done():
        waiting.set_result(released)
