"""Checks of the disks of a completed QEMU domain.

Owns: these checks. Pure: a domain is read, never changed.
Source: libvirt 9.0, measured.
"""

from __future__ import annotations

import re
from typing import Final

from conf.domain.devices.address import DriveAddress, UsbAddress
from conf.domain.devices.disk import Disk, DiskDriver, is_empty
from conf.domain.devices.disk_order import disk_index
from conf.domain.model import Domain
from conf.domain.validate.vhost_user import check_vhost_user_disk
from conf.domain.validate.virtio import check_virtio_switches
from conf.errors import ConfError

UNSUPPORTED: Final = "config_unsupported"
PATH: Final = "domain/devices/disk"
#: Formats that writers on several hosts can share; others keep state in the file.
SHARED_FORMATS: Final = (None, "raw")
DRIVE_BUSES: Final = ("ide", "sata", "fdc", "scsi")
LUN_TYPES: Final = ("block", "network", "volume")
VENDOR_LENGTH: Final = 8
PRODUCT_LENGTH: Final = 16
#: Characters that libvirt lets into QEMU's properties.
SERIAL: Final = re.compile(r"[A-Za-z0-9_\-. +]*")
WWN: Final = re.compile("(0x)?[0-9a-fA-F]{16}")
#: How the name of a disk that is no CD-ROM begins.
DISK_PREFIXES: Final = ("hd", "sd", "vd", "xvd", "ubd")
DISKS_ONLY: Final = ("cdrom", "floppy")


def check_disks(domain: Domain) -> None:
    """Check each disk by itself, then their places among each other.

    Raises:
        ConfError: a disk cannot be.
    """
    threads = {thread.id for thread in domain.iothread_list()}
    for disk in domain.devices.disks:
        if disk.target.bus == "virtio" and isinstance(disk.address, DriveAddress):
            detail = "virtio disk cannot have an address of type 'drive'"
            raise ConfError(UNSUPPORTED, detail, f"{PATH}/address/@type")
        if disk.type == "vhostuser":
            check_vhost_user_disk(domain, disk)
        _check_target(disk)
        _check_encryption(disk)
        _check_source(disk)
        _check_format(disk)
        _check_driver(disk)
        thread = disk.driver.iothread if disk.driver else None
        if thread and thread not in threads:
            detail = f"Disk iothread '{thread}' not defined in iothreadid"
            raise ConfError(UNSUPPORTED, detail, f"{PATH}/driver/@iothread")
        _check_identifiers(disk)
        _check_iotune(disk)
        _check_address(disk)
        _check_scsi(disk)
        _check_sharing(disk)
    _check_ide_controllers(domain)
    _check_names(domain)
    _check_places(domain)


def _check_target(disk: Disk) -> None:
    """Check that the target name is a disk's, and that the bus has such a device."""
    dev, bus = disk.target.dev, disk.target.bus
    path = f"{PATH}/target/@dev"
    if disk.target_missing:
        source = disk.source.file or disk.source.dev if disk.source else None
        detail = source or "(null)"
        raise ConfError("no_target", detail, path)
    if disk.device == "floppy":
        if not dev.startswith("fd"):
            raise ConfError("internal", f"Invalid floppy device name: {dev}", path)
        if bus != "fdc":
            detail = f"Invalid bus type '{bus}' for floppy disk"
            raise ConfError("internal", detail, f"{PATH}/target/@bus")
    elif disk.device != "cdrom" and not dev.startswith(DISK_PREFIXES):
        raise ConfError("internal", f"Invalid harddisk device name: {dev}", path)
    elif bus == "fdc":
        raise ConfError("internal", f"Invalid bus type '{bus}' for disk", f"{PATH}/target/@bus")
    if disk_index(dev) < 0:
        raise ConfError(UNSUPPORTED, f"invalid disk target '{dev}'", path)
    if dev[len(dev.rstrip("0123456789")) :].strip("0"):
        detail = f"invalid disk target '{dev}', partitions can't appear in disk targets"
        raise ConfError(UNSUPPORTED, detail, path)
    _check_bus(disk)


def _check_bus(disk: Disk) -> None:
    """Check that the bus has such a drive."""
    dev, bus = disk.target.dev, disk.target.bus
    if bus in ("virtio", "sd") and disk.device in DISKS_ONLY:
        # virtio-blk and sd-card have no tray; a CD-ROM needs IDE, SATA, SCSI or USB.
        detail = f"disk type of '{dev}' does not support ejectable media"
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/target/@bus")
    if bus in ("ide", "sata") and disk.readonly and disk.device == "disk":
        detail = f"readonly {bus} disks are not supported"
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/readonly")
    if disk.model is not None and bus != "virtio":
        detail = f"disk model '{disk.model}' not supported for bus '{bus}'"
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/@model")
    if disk.target.removable is not None and bus != "usb":
        detail = "removable is only valid for usb disks"
        raise ConfError("xml", detail, f"{PATH}/target/@removable")
    if disk.target.tray == "open" and disk.device not in DISKS_ONLY:
        raise ConfError(UNSUPPORTED, "tray is only valid for cdrom and floppy", PATH)
    if disk.target.rotation_rate is not None:
        _check_rotation(disk)


def _check_rotation(disk: Disk) -> None:
    path = f"{PATH}/target/@rotation_rate"
    if disk.target.bus not in ("scsi", "ide", "sata"):
        raise ConfError("internal", "rotation rate is only valid for SCSI/IDE/SATA bus", path)
    if disk.device != "disk":
        raise ConfError("internal", "rotation rate is only valid for disk device", path)


def _check_source(disk: Disk) -> None:
    """Check that a drive without removable media has something in it."""
    if disk.sgio == "unfiltered":
        # A patch of one distribution's kernel; Linux never had the switch.
        detail = "unfiltered sgio is no longer supported"
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/@sgio")
    if disk.sgio is not None and disk.device != "lun":
        detail = "sgio can be used only with device='lun'"
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/@sgio")
    if disk.device != "lun" and disk.source is not None and disk.source.reservations is not None:
        detail = "<reservations/> allowed only for lun devices"
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/source/reservations")
    if disk.rawio is not None and disk.device != "lun":
        detail = "rawio can be used only with device='lun'"
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/@rawio")
    if disk.device == "lun" and (disk.type not in LUN_TYPES or disk.source is None):
        detail = f"disk device='lun' is only valid for {'block'} type disk source"
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/@type")
    if disk.device == "lun" and disk.type == "network" and disk.source is not None:
        protocol = disk.source.protocol
        if protocol != "iscsi":
            detail = f"disk device='lun' is not supported for protocol='{protocol}'"
            raise ConfError(UNSUPPORTED, detail, f"{PATH}/source/@protocol")
    if disk.device not in DISKS_ONLY and not _has_source(disk):
        raise ConfError("no_source", disk.target.dev or "", f"{PATH}/source")


def _check_encryption(disk: Disk) -> None:
    for encryption in (disk.encryption, disk.source.encryption if disk.source else None):
        rbd = disk.source is not None and disk.source.protocol == "rbd"
        if encryption is not None and encryption.engine == "librbd" and not rbd:
            detail = "librbd encryption is supported only with RBD backed disks"
            raise ConfError(UNSUPPORTED, detail, f"{PATH}/encryption/@engine")
        if encryption is not None and encryption.format == "luks2" and encryption.engine == "qemu":
            detail = "luks2 is currently not supported by the qemu encryption engine"
            raise ConfError(UNSUPPORTED, detail, f"{PATH}/encryption/@format")


def _has_source(disk: Disk) -> bool:
    source = disk.source
    if source is None:
        return False
    if disk.type == "volume":
        return True  # libvirt looks at its pool when the guest starts
    attribute = {"file": "file", "block": "dev", "dir": "dir"}.get(disk.type)
    return bool(getattr(source, attribute)) if attribute else not is_empty(source)


def _check_driver(disk: Disk) -> None:
    driver = disk.driver
    if driver is None:
        return
    check_virtio_switches(driver, is_virtio=disk.target.bus == "virtio")
    _check_virtio_settings(driver, disk)
    if driver.name not in (None, "qemu"):
        detail = f"unsupported driver name '{driver.name}' for disk '{disk.target.dev}'"
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/driver/@name")
    if driver.io == "native" and driver.cache not in ("none", "directsync"):
        # Linux AIO is asynchronous with O_DIRECT alone.
        detail = (
            "native I/O needs either no disk cache or directsync cache mode, QEMU will fallback "
            "to aio=threads"
        )
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/driver/@io")


def _check_virtio_settings(driver: DiskDriver, disk: Disk) -> None:
    bus, path = disk.target.bus, f"{PATH}/driver"
    if bus == "virtio":
        return
    for name in ("ioeventfd", "event_idx"):
        if getattr(driver, name) is not None:
            detail = f"disk {name} mode supported only for virtio bus"
            raise ConfError(UNSUPPORTED, detail, f"{path}/@{name}")
    if driver.iothread:
        detail = f"IOThreads not available for bus {bus} target {disk.target.dev}"
        raise ConfError(UNSUPPORTED, detail, f"{path}/@iothread")
    if driver.queues:
        detail = "queues attribute in disk driver element is only supported by virtio-blk"
        raise ConfError(UNSUPPORTED, detail, f"{path}/@queues")


def _check_identifiers(disk: Disk) -> None:
    """Refuse characters in serial and wwn that QEMU's command line cannot have."""
    if disk.serial is not None and not SERIAL.fullmatch(disk.serial):
        detail = f"driver serial '{disk.serial}' contains unsafe characters"
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/serial")
    if disk.serial is not None and disk.target.bus == "sd":
        detail = f"Serial property not supported for drive bus '{disk.target.bus}'"
        raise ConfError("internal", detail, f"{PATH}/serial")
    if disk.wwn is not None and not WWN.fullmatch(disk.wwn):
        raise ConfError("internal", f"Malformed wwn: {disk.wwn}", f"{PATH}/wwn")
    if disk.wwn is not None and disk.target.bus not in ("ide", "scsi"):
        raise ConfError(UNSUPPORTED, "Only ide and scsi disk support wwn", f"{PATH}/wwn")
    if disk.device == "lun" and disk.target.bus == "scsi":  # the unit has its own
        if disk.wwn is not None:
            raise ConfError(UNSUPPORTED, "Setting wwn is not supported for lun device", PATH)
        if disk.serial is not None:
            detail = "scsi-block 'lun' devices do not support the serial property"
            raise ConfError(UNSUPPORTED, detail, f"{PATH}/serial")


def _check_iotune(disk: Disk) -> None:
    tune = disk.iotune
    if tune is None:
        return
    for unit in ("bytes_sec", "iops_sec", "bytes_sec_max", "iops_sec_max"):
        if getattr(tune, f"total_{unit}") and (
            getattr(tune, f"read_{unit}") or getattr(tune, f"write_{unit}")
        ):
            detail = f"total and read/write {unit} cannot be set at the same time"
            raise ConfError("xml", detail, f"{PATH}/iotune")


def _check_ide_controllers(domain: Domain) -> None:
    """Refuse a second IDE controller: the i440FX has only its built-in one."""
    if any(item.type == "ide" and item.index for item in domain.devices.controllers):
        detail = "Only a single IDE controller is supported for this machine type"
        raise ConfError(UNSUPPORTED, detail, "domain/devices/controller")


def _format(disk: Disk) -> str | None:
    return disk.driver.type if disk.driver else None


def _check_format(disk: Disk) -> None:
    form = _format(disk)
    if form == "iso":
        detail = "storage format 'iso' is not directly supported by QEMU, use 'raw' instead"
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/driver/@type")
    if form in ("cow", "vhd", "dir"):
        detail = f"'{form}' storage format is not supported"
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/driver/@type")
    if disk.type == "dir" and form != "fat":
        detail = "storage type 'dir' requires use of storage format 'fat'"
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/driver/@type")
    if form == "fat" and disk.type not in ("dir", "volume"):
        detail = "storage format 'fat' is supported only with 'dir' storage type"
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/driver/@type")
    if form == "fat" and not disk.readonly and disk.device != "cdrom" and disk.type == "dir":
        detail = "virtual FAT storage can't be accessed in read-write mode"
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/readonly")


def _check_address(disk: Disk) -> None:
    """Refuse an address of another kind than the disk's bus."""
    bus, address = disk.target.bus, disk.address
    if address is None:
        return
    if bus in DRIVE_BUSES and not isinstance(address, DriveAddress):
        detail = (
            f"Invalid address type '{address.type}' for the disk '{disk.target.dev}' "
            f"with the bus type '{bus}'"
        )
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/address/@type")
    if isinstance(address, DriveAddress):
        _check_drive_address(bus, address)
    if bus == "usb" and not isinstance(address, UsbAddress):
        raise ConfError("internal", "unexpected address type for usb disk", f"{PATH}/address")


def _check_drive_address(bus: str, address: DriveAddress) -> None:
    """Check that the controller of a bus has such a place."""
    path = f"{PATH}/address"
    if bus == "ide" and address.controller:
        raise ConfError("internal", "Only 1 IDE controller is supported", f"{path}/@controller")
    if bus == "fdc" and address.controller:
        raise ConfError("internal", "Only 1 fdc controller is supported", f"{path}/@controller")
    if bus == "fdc" and address.bus:
        raise ConfError("internal", "Only 1 fdc bus is supported", f"{path}/@bus")
    if bus == "scsi" and address.bus:
        raise ConfError("internal", "SCSI controller only supports 1 bus", f"{path}/@bus")
    if bus == "sata" and address.bus:
        raise ConfError(UNSUPPORTED, "bus must be 0 for sata controller", f"{path}/@bus")
    if bus in ("ide", "sata", "fdc") and address.target:
        names = {"ide": "ide controller", "sata": "sata controller", "fdc": "controller fdc"}
        raise ConfError(UNSUPPORTED, f"target must be 0 for {names[bus]}", f"{path}/@target")


def _check_scsi(disk: Disk) -> None:
    if disk.device == "lun" and disk.target.bus not in ("scsi", "virtio"):
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
    if copies and (disk.readonly or disk.shareable):
        how = "read-only" if disk.readonly else "shared"
        detail = f"copy_on_read is not compatible with {how} disk '{disk.target.dev}'"
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
