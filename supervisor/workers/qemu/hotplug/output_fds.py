"""Passes what a hotplugged character device writes or listens on to QEMU.

Owns: sets of one descriptor for what is written, which have the device's alias as their mark. May
touch: QEMU, by QMP; logd; the paths of sockets.
"""

from __future__ import annotations

import contextlib
import logging
from contextlib import AsyncExitStack

from conf.domain.device_xml import Device
from rpc.errors import VirError
from supervisor.workers.qemu.block.passed_images import AddedFd, Fdset
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.guest_user import guest_user
from supervisor.workers.qemu.listening_sockets import listen_for_qemu
from supervisor.workers.qemu.outputs import OutputFds, Outputs, output_source

log = logging.getLogger(__name__)


async def pass_outputs(guest: Guest, device: Device, undo: AsyncExitStack) -> OutputFds:
    """Open what a device writes or listens on, and pass it to QEMU.

    Raises:
        VirError: SYSTEM_ERROR naming the file; QEMU refuses.
    """
    source = output_source(device)
    if source is None:
        return OutputFds()
    alias: str = device.alias or ""  # type: ignore[union-attr]
    undo.push_async_callback(remove_outputs, guest, alias)
    with contextlib.ExitStack() as closing:
        opened = await Outputs(guest.context).open_device(alias, source, closing)
        sockets = listen_for_qemu([(alias, source)], guest_user(guest), closing, undo)
        names = {alias: await _getfd(guest, f"socket-{alias}", fd) for alias, fd in sockets.items()}
        chars = {alias: await _add_fd(guest, alias, fd) for alias, fd in opened.chars.items()}
        logs = {alias: await _add_fd(guest, alias, fd) for alias, fd in opened.logs.items()}
    return OutputFds(chars, logs, names)


async def _getfd(guest: Guest, name: str, fd: int) -> str:
    """Pass a descriptor; the monitor keeps it under its name until chardev-add takes it."""
    await guest.monitor.execute("getfd", {"fdname": name}, fd=fd)
    return name


async def _add_fd(guest: Guest, alias: str, fd: int) -> int:
    added = await guest.monitor.query("add-fd", AddedFd, {"opaque": alias}, fd=fd)
    return added.fdset_id


async def remove_outputs(guest: Guest, alias: str) -> None:
    """Have QEMU close the sets of a device that is gone: its file is free for another one then."""
    try:
        for fdset in await guest.monitor.query("query-fdsets", list[Fdset]):
            if any(fd.opaque == alias for fd in fdset.fds):
                await guest.monitor.execute("remove-fd", {"fdset-id": fdset.fdset_id})
    except VirError as error:
        log.warning("%s: descriptors of %s cannot be removed: %s", guest.name, alias, error)
