"""Devices of the host belong to one guest at a time, whichever driver runs it.

Owns: the lock under which it is asked who has a device, and written down or acted on.
May touch: that lock. May not touch: devices; status files are read by `objects.device_use`.
Source: libvirt 9.0, virHostdevPrepareUSBDevices and its neighbours.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Final

from conf.domain.devices.hostdev import Hostdev
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.objects.device_use import HeldDevice, devices_of, refuse_second, taken_devices
from supervisor.runtime.lock_file import LockHeld, take_lock
from supervisor.runtime.paths import Paths

LOCK_S: Final = 30.0  # for others that take a device: a start's preparation


@contextlib.asynccontextmanager
async def exclusive(paths: Paths, name: str, hostdevs: Iterable[Hostdev]) -> AsyncIterator[None]:
    """Hold the host's devices for a domain until its status file names them.

    Args:
        paths: of the daemon.
        name: of the domain, whose own status file does not count.
        hostdevs: those to be taken, their places found.

    Raises:
        VirError: OPERATION_INVALID: another running domain has one; OPERATION_TIMEOUT: the guests
            that are taking devices do not come to an end.
    """
    wanted = {held: hostdev.shareable for hostdev in hostdevs for held in devices_of(hostdev)}
    if not wanted:
        yield
        return
    async with _locked(paths.run):
        taken = await asyncio.to_thread(taken_devices, paths.run, (paths.driver, name))
        for held in sorted(wanted.keys() & taken.keys()):
            refuse_second(held, taken[held], shares=wanted[held])
        yield


@contextlib.asynccontextmanager
async def unused(run: Path, device: HeldDevice) -> AsyncIterator[None]:
    """Keep a device of the host from every domain; none has it.

    Args:
        run: the daemon's folder of state.
        device: which.

    Raises:
        VirError: OPERATION_INVALID: a running domain has it; OPERATION_TIMEOUT: the guests that are
            taking devices do not come to an end.
    """
    async with _locked(run):
        holder = (await asyncio.to_thread(taken_devices, run)).get(device)
        if holder is not None:
            refuse_second(device, holder, shares=False)
        yield


@contextlib.asynccontextmanager
async def _locked(run: Path) -> AsyncIterator[None]:
    try:
        lock = await take_lock(run / "hostdevs.lock", LOCK_S)
    except LockHeld as error:
        detail = f"cannot take a device of the host: {error}"
        raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.NONE) from error
    try:
        yield
    finally:
        os.close(lock)
