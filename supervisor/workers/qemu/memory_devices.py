"""What memory devices a running QEMU has, what the guest uses of them, and what is left of one.

Owns: their addresses and sizes in the live XML, and its totals. May touch: QEMU, by QMP; the
modules' files. May not touch: plugging one in (`hotplug.memory_modules`).
Source: libvirt 9.0, qemuDomainRemoveMemoryDevice, processMemoryDeviceSizeChange; QEMU 7.2,
query-memory-devices.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace

import msgspec

from conf.domain.devices.address import DimmAddress
from conf.domain.devices.memory import MemoryDevice
from conf.domain.memory_modules import change_total
from conf.types.size import KIB, Amount
from rpc.enums import DomainEventID
from rpc.errors import VirError
from supervisor.workers.qemu.balloon import refresh_size
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.hotplug.file_owners import restore_file_owners

log = logging.getLogger(__name__)


class ModuleData(msgspec.Struct, frozen=True, rename="kebab"):
    """What a memory device is and has, in bytes."""

    id: str = ""
    addr: int = 0  # of a DIMM
    size: int = 0  # of a virtio-mem: what is plugged now


class MemoryModule(msgspec.Struct, frozen=True):
    """One memory device (`query-memory-devices`)."""

    type: str
    data: ModuleData


def backend_name(device: MemoryDevice) -> str:
    """Return the id of a module's backend."""
    return f"mem{device.alias}"


def forget_module(guest: Guest, device: MemoryDevice) -> None:
    """Take a module out of the live XML."""
    devices = guest.domain.devices
    devices.memories = [each for each in devices.memories if each is not device]
    change_total(guest.domain, -device.target.size)
    guest.update_xml()


async def remove_backend(guest: Guest, device: MemoryDevice) -> None:
    """Remove the backend of a module that the guest has released, and follow the totals.

    Raises:
        VirError: QEMU refuses.
    """
    change_total(guest.domain, -device.target.size)
    await guest.monitor.execute("object-del", {"id": backend_name(device)})
    _unlink(guest, device)
    await refresh_size(guest)


def _unlink(guest: Guest, device: MemoryDevice) -> None:
    """Remove the file of a module that has one of its own: QEMU keeps it."""
    configured = guest.context.config.memory_backing_dir
    folder = guest.context.paths.memory_dir(guest.status.id, guest.name, configured)
    with contextlib.suppress(OSError):
        (folder / (device.alias or "none")).unlink()


async def on_size_changed(guest: Guest, alias: str, size: int) -> None:
    """Record what the guest uses of a virtio-mem device, in bytes, and tell clients."""
    for memory in guest.domain.devices.memories:
        if memory.alias == alias and memory.model == "virtio-mem":
            kib = -(-size // KIB)
            memory.target.current_amount = Amount(amount=kib)
            break
    else:
        return
    with contextlib.suppress(VirError):
        await refresh_size(guest)
    guest.update_and_publish()
    event = DomainEventID.MEMORY_DEVICE_SIZE_CHANGE
    guest.publish_event(event, guest.identity, alias, kib)  # libvirt's documentation says bytes


async def refresh_modules(guest: Guest) -> None:
    """Query where QEMU has put the modules, what the guest uses of them, and its memory in all.

    Raises:
        VirError: QEMU does not reply.
    """
    modules = await guest.monitor.query("query-memory-devices", list[MemoryModule])
    by_id = {module.data.id: module for module in modules}
    for memory in guest.domain.devices.memories:
        module = by_id.get(memory.alias or "")
        if module is None:
            continue
        if isinstance(memory.address, DimmAddress):
            memory.address = replace(memory.address, base=module.data.addr)
        elif memory.model == "virtio-mem":
            memory.target.current_amount = Amount(amount=module.data.size // KIB)
    await refresh_size(guest)


async def follow_memory(guest: Guest) -> None:
    """Drop the modules from the live XML that QEMU does not have (any more).

    Raises:
        VirError: QEMU does not reply.
    """
    modules = await guest.monitor.query("query-memory-devices", list[MemoryModule])
    present = {module.data.id for module in modules}
    for device in list(guest.domain.devices.memories):
        if device.alias in present:
            continue
        log.warning("%s: QEMU has no memory %s", guest.name, device.alias)
        forget_module(guest, device)
        with contextlib.suppress(VirError):  # it may never have got there
            await guest.monitor.execute("object-del", {"id": backend_name(device)})
        _unlink(guest, device)
        await restore_file_owners(guest, device)
    await refresh_modules(guest)
    guest.update_and_publish()
