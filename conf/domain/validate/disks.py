"""Checks of disks and file systems of a completed QEMU domain.

Owns: these checks. Pure: a domain is read, never changed.
Source: libvirt 9.0, measured.
"""

from __future__ import annotations

from typing import Final

from conf.domain.devices.address import DriveAddress, UsbAddress
from conf.domain.devices.disk import Disk
from conf.domain.model import Domain
from conf.errors import ConfError

UNSUPPORTED: Final = "config_unsupported"
PATH: Final = "domain/devices/disk"
#: Formats that writers on several hosts can share; others keep state in the file.
SHARED_FORMATS: Final = (None, "raw")
DRIVE_BUSES: Final = ("ide", "sata", "fdc", "scsi")
VENDOR_LENGTH: Final = 8
PRODUCT_LENGTH: Final = 16
DISKS_ONLY: Final = ("cdrom", "floppy")


def check_disks(domain: Domain) -> None:
    """Check each disk by itself, then their places among each other.

    Raises:
        ConfError: a disk cannot be.
    """
    for disk in domain.devices.disks:
        _check_format(disk)
        _check_address(disk)
        _check_scsi(disk)
        _check_sharing(disk)
    _check_names(domain)
    _check_places(domain)
    for filesystem in domain.devices.filesystems:
        if filesystem.driver_type == "virtiofs" and filesystem.readonly:
            detail = "virtiofs does not yet support read-only mode"
            raise ConfError(UNSUPPORTED, detail, "domain/devices/filesystem/readonly")


def _format(disk: Disk) -> str | None:
    return disk.driver.type if disk.driver else None


def _check_format(disk: Disk) -> None:
    form = _format(disk)
    if form == "iso":
        detail = "storage format 'iso' is not directly supported by QEMU, use 'raw' instead"
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/driver/@type")
    if form in ("cow", "vhd"):
        detail = f"'{form}' storage format is not supported"
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/driver/@type")


def _check_address(disk: Disk) -> None:
    """A disk's address is of its bus's kind."""
    bus, address = disk.target.bus, disk.address
    if address is None:
        return
    if bus in DRIVE_BUSES and not isinstance(address, DriveAddress):
        detail = (
            f"Invalid address type '{address.type}' for the disk '{disk.target.dev}' "
            f"with the bus type '{bus}'"
        )
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/address/@type")
    if bus == "usb" and not isinstance(address, UsbAddress):
        raise ConfError("internal", "unexpected address type for usb disk", f"{PATH}/address")
    if bus == "virtio" and isinstance(address, DriveAddress):
        detail = f"Invalid address type 'drive' for the disk '{disk.target.dev}' on virtio"
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/address/@type")


def _check_scsi(disk: Disk) -> None:
    if disk.device == "lun":
        if disk.type not in ("block", "network", "volume"):
            detail = f"disk device='lun' is only valid for {'block'} type disk source"
            raise ConfError(UNSUPPORTED, detail, f"{PATH}/@type")
        if disk.target.bus not in ("scsi", "virtio"):
            detail = f"disk device='lun' is not supported for bus='{disk.target.bus}'"
            raise ConfError(UNSUPPORTED, detail, f"{PATH}/target/@bus")
    if (disk.vendor or disk.product) and (disk.target.bus != "scsi" or disk.device == "lun"):
        raise ConfError(UNSUPPORTED, "Only scsi disk supports vendor and product", PATH)
    for name, value, limit in (
        ("vendor", disk.vendor, VENDOR_LENGTH),
        ("product", disk.product, PRODUCT_LENGTH),
    ):
        if value is not None and (len(value) > limit or not value.isprintable()):
            detail = f"disk {name} is at most {limit} printable characters"
            raise ConfError("xml", detail, f"{PATH}/{name}")


def _check_sharing(disk: Disk) -> None:
    if disk.shareable and _format(disk) not in SHARED_FORMATS:
        detail = (
            f"shared access for disk '{disk.target.dev}' requires use of supported storage format"
        )
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/shareable")
    copies = disk.driver is not None and disk.driver.copy_on_read
    if copies and (disk.readonly or disk.shareable) and disk.device == "disk":
        detail = f"copy_on_read is not compatible with {'read-only'} disk '{disk.target.dev}'"
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/driver/@copy_on_read")


def _check_names(domain: Domain) -> None:
    seen: set[str] = set()
    for disk in domain.devices.disks:
        if disk.target.dev in seen:
            detail = f"target '{disk.target.dev}' duplicated for disk sources"
            raise ConfError("xml", detail, f"{PATH}/target/@dev")
        seen.add(disk.target.dev)


def _check_places(domain: Domain) -> None:
    taken: set[tuple[str, int, int, int, int]] = set()
    for disk in domain.devices.disks:
        address = disk.address
        if not isinstance(address, DriveAddress):
            continue
        place = (
            disk.target.bus,
            address.controller,
            address.bus,
            address.target,
            address.unit,
        )
        if place in taken:
            detail = (
                f"Found duplicate drive address for disk with target name '{disk.target.dev}' "
                f"controller='{address.controller}' bus='{address.bus}' "
                f"target='{address.target}' unit='{address.unit}'"
            )
            raise ConfError(UNSUPPORTED, detail, f"{PATH}/address")
        taken.add(place)
