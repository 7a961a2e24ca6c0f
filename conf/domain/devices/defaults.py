"""Defaults of the devices of a QEMU domain, as libvirt 9.0 fills them in.

Owns: the order of all completing of devices.
May touch: the domain's devices, which it changes in place. May not touch: the host.
"""

from __future__ import annotations

from typing import Final, TypeGuard

from conf.domain.architectures import X86
from conf.domain.devices.address import Address, CcidAddress, DriveAddress
from conf.domain.devices.chardev_defaults import complete_chardevs, drop_default_paths
from conf.domain.devices.controller_defaults import (
    add_controllers,
    complete_controllers,
    last_drive_controller,
)
from conf.domain.devices.devices import Devices
from conf.domain.devices.disk_defaults import complete_disk
from conf.domain.devices.filesystem import Filesystem
from conf.domain.devices.graphics_defaults import (
    complete_audio,
    complete_graphics,
    complete_inputs,
    complete_interface,
    complete_videos,
)
from conf.domain.devices.hostdev import Hostdev
from conf.domain.devices.memballoon import Memballoon
from conf.domain.model import Domain
from conf.emulator import EmulatorFacts

SCSI_UNITS: Final = 7  # of a narrow bus, without the adapter's own


def complete_devices(domain: Domain, facts: EmulatorFacts) -> None:
    """Fill in the defaults of every device; idempotent.

    Raises:
        ConfError: a device says too little, or what cannot be.
    """
    devices = domain.devices
    devices.emulator = devices.emulator or facts.binary
    machine = domain.os.type.machine or ""
    for disk in devices.disks:
        complete_disk(disk)
    for interface in devices.interfaces:
        complete_interface(interface, facts)
    complete_chardevs(devices, facts.arch)
    if domain.id is None:  # a running guest has the sockets that its start chose
        drop_default_paths(devices)
    complete_inputs(devices, facts)
    for graphics in devices.graphics:
        complete_graphics(graphics)
    complete_videos(devices, facts)
    for filesystem in devices.filesystems:
        complete_filesystem(filesystem)
    for number, card in enumerate(devices.smartcards):
        card.address = card.address or CcidAddress(controller=0, slot=number)
    for hostdev in devices.hostdevs:
        complete_hostdev(hostdev)
    for memory in devices.memories:
        if memory.model == "virtio-pmem":
            memory.access = memory.access or "shared"
    place_scsi_hostdevs(devices)
    complete_other_devices(domain)
    complete_controllers(devices, domain.os.type.arch or facts.arch, machine, facts)
    complete_audio(devices)


def complete_filesystem(filesystem: Filesystem) -> None:
    """Choose how a folder's owners are shown."""
    by_daemon = filesystem.source_socket is None  # which serves the files of its own folder
    if by_daemon and filesystem.type in ("mount", "bind") and filesystem.accessmode is None:
        filesystem.accessmode = "passthrough"


def complete_hostdev(hostdev: Hostdev) -> None:
    """Choose the backend of a host device."""
    if hostdev.managed is None and hostdev.type in ("usb", "pci", "mdev", "scsi", "scsi_host"):
        hostdev.managed = False
    if hostdev.type == "mdev" and hostdev.model == "vfio-pci" and hostdev.display is None:
        hostdev.display = False
    source = hostdev.source
    if source.protocol == "iscsi" and source.name is not None and "/" not in source.name:
        source.name += "/0"


def place_scsi_hostdevs(devices: Devices) -> None:
    """Give SCSI host devices without an address the first free unit of the SCSI controllers.

    Controllers that they take more are like those that there are. The last device's own is left
    to `complete_controllers`: so libvirt orders them.
    """
    scsi = [item for item in devices.hostdevs if item.type == "scsi"]
    taken = {
        (disk.address.controller, disk.address.unit)
        for disk in devices.disks
        if disk.target.bus == "scsi" and _is_first_target(disk.address)
    }
    taken |= {(h.address.controller, h.address.unit) for h in scsi if _is_first_target(h.address)}
    for hostdev in scsi:
        _add_scsi_controllers(devices)
        if hostdev.address is not None:
            continue
        present = [c.index or 0 for c in devices.controllers if c.type == "scsi"]
        controllers = (*present, max(present) + 1)
        places = ((c, unit) for c in controllers for unit in range(SCSI_UNITS))
        controller, unit = next(place for place in places if place not in taken)
        hostdev.address = DriveAddress(controller=controller, unit=unit)
        taken.add((controller, unit))


def _is_first_target(address: Address | None) -> TypeGuard[DriveAddress]:
    return isinstance(address, DriveAddress) and not address.bus and not address.target


def _add_scsi_controllers(devices: Devices) -> None:
    """Add the controllers of the SCSI host devices that have an address; at least the first."""
    last = last_drive_controller(Devices(hostdevs=devices.hostdevs), "scsi")
    add_controllers(devices, "scsi", range(max(last, 0) + 1))


def complete_other_devices(domain: Domain) -> None:
    """Fill in the defaults of the devices that have few of them."""
    devices = domain.devices
    if devices.memballoon is None:
        devices.memballoon = Memballoon(model="virtio")
    for watchdog in devices.watchdogs:
        watchdog.action = watchdog.action or "reset"
    for panic in devices.panics:
        if panic.model in (None, "default"):
            panic.model = "isa"
    if devices.vsock is not None:
        devices.vsock.model = devices.vsock.model or "virtio"
        if devices.vsock.cid_auto is None:
            devices.vsock.cid_auto = not devices.vsock.cid_address
    for tpm in devices.tpms:
        tpm.model = tpm.model or "tpm-tis"
        if tpm.backend.type == "emulator" and tpm.backend.version is None:
            # A guest that knows one version does not know the other: the document says which.
            is_old = tpm.model == "tpm-tis" and domain.os.type.arch in X86
            tpm.backend.version = "1.2" if is_old else "2.0"
