"""Updates a device of a running domain: an interface, a drive's medium, a display's password.

Owns: which changes are possible. May touch: QEMU, by QMP; netd over the bus.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Final

from conf.domain import Domain
from conf.domain.device_list import find_device
from conf.domain.device_xml import parse_device
from conf.domain.devices.disk import Disk, DiskDriver
from conf.domain.devices.graphics import Graphics
from conf.domain.devices.graphics_defaults import complete_interface
from conf.domain.devices.interface import Interface
from conf.domain.devices.memory import MemoryDevice
from conf.domain.validate.parsed_devices import check_parsed_device
from conf.errors import ConfError
from supervisor.messages.worker import AttachDevice, UpdateDevice
from supervisor.workers.interface_updates import update_interface
from supervisor.workers.qemu import interfaces
from supervisor.workers.qemu.argv.disk import node_options
from supervisor.workers.qemu.block import backing_chains, disk_secrets
from supervisor.workers.qemu.block.iotune import throttle_commands
from supervisor.workers.qemu.block.nodes import number_disk, record_indexes
from supervisor.workers.qemu.block.passed_images import passed_sources
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.hotplug.attach import (
    attach,
    emulator_facts,
    launch_context,
    take_indexes,
)
from supervisor.workers.qemu.hotplug.detach import collect
from supervisor.workers.qemu.hotplug.file_owners import chown_files, restore_file_owners
from supervisor.workers.qemu.hotplug.memory_modules import attach_module, update_module
from supervisor.workers.qemu.hotplug.plan import HotplugPlan
from supervisor.workers.qemu.hotplug.qmp_steps import qmp_step
from supervisor.workers.qemu.hotplug.update_checks import (
    check_disk_change,
    check_graphics_change,
    check_interface_change,
)
from supervisor.workers.qemu.qmp.monitor import QmpError
from supervisor.workers.qemu.start.monitor_setup import password_commands

REMOVABLE: Final = ("cdrom", "floppy")

OPEN_ATTEMPTS: Final = 3
EJECT_S: Final = 5.0  # for the guest's consent, as with libvirt

log = logging.getLogger(__name__)


async def update(guest: Guest, request: UpdateDevice) -> None:
    """Update a device as the client's XML says.

    Raises:
        ConfError: "device_missing"; "operation_unsupported": the change is not possible.
        VirError: netd or QEMU refuses.
    """
    tag, changed = parse_device(request.xml)
    check_parsed_device(tag, changed)
    match changed:
        case Interface():
            current = find_device(guest.domain, tag, changed)
            assert isinstance(current, Interface), "found by its tag"
            complete_interface(changed, await emulator_facts(guest))
            check_interface_change(current, changed)
            await update_interface(
                guest, current, changed, lambda up: _set_link(guest, current, up)
            )
        case Disk():
            drive = _find_drive(guest.domain, changed)
            if not check_disk_change(drive, changed):
                return  # an image that is in the drive already
            await _change_medium(guest, drive, changed, force=request.force)
        case Graphics():
            display = find_device(guest.domain, tag, changed)
            assert isinstance(display, Graphics), "found by its tag"
            check_graphics_change(display, changed, guest.context.config)
            await _update_display(guest, display, changed)
        case MemoryDevice():
            await update_module(guest, changed)
        case _:
            detail = f"live update of device '{tag}' is not supported"
            raise ConfError("config_unsupported", detail)
    guest.update_xml()


async def attach_or_insert(guest: Guest, request: AttachDevice) -> None:
    """Attach a device; a CD-ROM or floppy of a drive that there is goes into it.

    Raises:
        ConfError, VirError: as `attach` and `update`.
    """
    _, device = parse_device(request.xml)
    if isinstance(device, MemoryDevice):
        await attach_module(guest, device)
        return
    if isinstance(device, Disk) and device.device in REMOVABLE:
        present = {disk.target.dev for disk in guest.domain.devices.disks}
        if device.target.dev in present:
            await update(guest, UpdateDevice(xml=request.xml))
            return
    await attach(guest, request.xml, request.fd_groups)


def _find_drive(domain: Domain, changed: Disk) -> Disk:
    for disk in domain.devices.disks:
        if disk.target.dev == changed.target.dev:
            return disk
    raise ConfError("internal", f"disk '{changed.target.dev}' not found")


async def _set_link(guest: Guest, interface: Interface, up: bool) -> None:  # noqa: FBT001
    await guest.monitor.execute("set_link", {"name": interface.alias, "up": up})


async def _change_medium(guest: Guest, drive: Disk, changed: Disk, *, force: bool) -> None:
    """Change or eject the medium; the new image is opened before the old one is removed."""
    updated = replace(
        drive,
        type=changed.type,
        source=changed.source,
        driver=_driver(drive, changed),
        backing_store=changed.backing_store,  # the previous medium's chain is not this one's
    )
    if passed_sources(updated):
        detail = "the medium of a running guest's drive cannot be an open file (fdgroup)"
        raise ConfError("operation_unsupported", detail)
    await backing_chains.complete_disks([updated])
    nodes = number_disk(updated, await take_indexes(guest, len(updated.chain())))
    record_indexes(updated, nodes)
    if nodes.images:
        secrets = await disk_secrets.fetch(
            guest.context.node.link("hostd"), disk_secrets.disk_sources(updated)
        )
        await chown_files(guest, updated)
        plan = HotplugPlan(guest.domain, await emulator_facts(guest), "disk", updated, [])
        context = launch_context(guest, plan, interfaces.InterfaceFds(), secrets)
        for step in [qmp_step(*option) for option in node_options(context, updated, nodes)]:
            await guest.monitor.execute(step.command, step.arguments, timeout_s=step.timeout_s)
    try:
        tray = {"id": drive.alias}
        await _remove_medium(guest, drive, force=force)
        if nodes.images:
            medium = {**tray, "node-name": nodes.images[0].format_name}
            await guest.monitor.execute("blockdev-insert-medium", medium)
        await guest.monitor.execute("blockdev-close-tray", tray)
        for command, limits in throttle_commands(updated):
            await guest.monitor.execute(command, limits)
    finally:
        await collect(guest)  # the previous medium, or the new one if it was not inserted
    previous = replace(drive)
    drive.type, drive.source, drive.driver = updated.type, updated.source, updated.driver
    drive.backing_store = updated.backing_store
    await restore_file_owners(guest, previous)


async def _remove_medium(guest: Guest, drive: Disk, *, force: bool) -> None:
    """Open the tray and take the medium out.

    A guest that resets the drive meanwhile, as firmware does when it starts, closes the tray.

    Raises:
        ConfError: "operation_failed": the guest keeps the tray locked. VirError: QEMU refuses.
    """
    tray = {"id": drive.alias}
    for attempts_left in reversed(range(OPEN_ATTEMPTS)):
        # Without force, QEMU asks a guest that has locked the tray to open it, and fails.
        await guest.monitor.execute("blockdev-open-tray", {**tray, "force": force})
        await _wait_open(guest, drive)
        try:
            await guest.monitor.execute("blockdev-remove-medium", tray)
        except QmpError as error:
            if not attempts_left or not error.desc.endswith("is not open"):
                raise
        else:
            return


async def _wait_open(guest: Guest, drive: Disk) -> None:
    """Wait for the guest to open the tray: QEMU has only asked it to, if the guest locked it.

    Raises:
        ConfError: "operation_failed": it keeps the tray locked.
    """
    if drive.device != "cdrom":
        return  # other drives have no tray
    try:
        async with asyncio.timeout(EJECT_S):
            while drive.target.tray != "open":
                await guest.tray_moved.wait()
    except TimeoutError:
        detail = f"timed out waiting to open tray of '{drive.target.dev}'"
        raise ConfError("operation_failed", detail) from None


def _driver(drive: Disk, changed: Disk) -> DiskDriver | None:
    """Return the drive's driver with the format of the new medium; its caching stays."""
    if drive.driver is None or changed.driver is None:
        return changed.driver or drive.driver
    name = changed.driver.name or drive.driver.name
    return replace(drive.driver, name=name, type=changed.driver.type or drive.driver.type)


async def _update_display(guest: Guest, display: Graphics, changed: Graphics) -> None:
    """Change the password; every other change has been refused."""
    updated = replace(
        display,
        passwd=changed.passwd or display.passwd,
        passwd_valid_to=changed.passwd_valid_to or display.passwd_valid_to,
        connected=changed.connected or display.connected,
    )
    for command, arguments in password_commands(updated):
        await guest.monitor.execute(command, arguments)
    display.passwd, display.passwd_valid_to = updated.passwd, updated.passwd_valid_to
    display.connected = updated.connected
