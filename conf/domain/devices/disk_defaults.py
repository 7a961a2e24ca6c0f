"""Defaults of a disk: its bus, driver and drive address.

Owns: those rules. May touch: the disks it is given.
Source: libvirt 9.0's behaviour, measured in corpus/domain.jsonl.
"""

from __future__ import annotations

from typing import Final

from conf.domain.devices.address import DriveAddress
from conf.domain.devices.disk import Disk, DiskDriver, is_empty
from conf.domain.devices.disk_order import disk_index
from conf.domain.devices.source import Encryption, Source
from conf.errors import ConfError

#: Prefixes of target names, and the bus that each implies.
BUS_OF: Final = (
    ("hd", "ide"), ("sd", "scsi"), ("vd", "virtio"), ("xvd", "xen"), ("ubd", "uml"), ("fd", "fdc"),
)  # fmt: skip
#: How many drives a controller of a bus has.
UNITS_PER_BUS: Final = {"ide": 4, "scsi": 15, "sata": 6, "fdc": 2}
#: The port of a storage protocol.
PORTS: Final = {
    "nbd": "10809", "gluster": "24007", "http": "80", "https": "443", "ftp": "21", "ftps": "990",
    "tftp": "69", "iscsi": "3260", "sheepdog": "7000", "ssh": "22", "vxhs": "9999",
}  # fmt: skip
HOST_ADAPTER: Final = 7  # the SCSI unit that is the controller itself


def complete_disk(disk: Disk) -> None:
    """Fill in the defaults of a disk.

    Raises:
        ConfError: "xml": it has no target, or one that is no disk's.
    """
    target = disk.target
    if not target.bus:
        target.bus = default_disk_bus(disk)
    disk.driver = disk.driver or DiskDriver()
    if disk.driver is not None:
        disk.driver.name = "qemu" if disk.driver.name is None else disk.driver.name
        if disk.type != "volume":
            disk.driver.type = disk.driver.type or "raw"
    if disk.device in ("cdrom", "floppy") and (disk.source is None or is_empty(disk.source)):
        disk.type = "file" if disk.type in ("network", "dir") else disk.type
    complete_encryption(disk.encryption)
    if disk.source is not None:
        complete_encryption(disk.source.encryption)
        complete_hosts(disk.source)
        complete_target_name(disk.source)
    if disk.device == "cdrom":
        disk.readonly = True
    place_disk(disk)


def complete_encryption(encryption: Encryption | None) -> None:
    """Say who decrypts an image."""
    if encryption is not None and encryption.format in ("luks", "luks2"):
        encryption.engine = encryption.engine or "qemu"


def complete_hosts(source: Source) -> None:
    """Give servers without a port the usual one of their protocol."""
    for host in source.hosts:
        if host.name is not None and host.port is None:
            host.port = PORTS.get(source.protocol or "")


def complete_target_name(source: Source) -> None:
    """Name the first unit of an iSCSI target that is named alone."""
    if source.protocol == "iscsi" and source.name and "/" not in source.name:
        source.name += "/0"


def default_disk_bus(disk: Disk) -> str:
    """Return the bus that the target name implies."""
    if disk.device == "floppy":
        return "fdc"
    bus = next((bus for prefix, bus in BUS_OF if disk.target.dev.startswith(prefix)), "ide")
    return bus


def place_disk(disk: Disk) -> None:
    """Give a disk of a drive bus the address that its target name implies."""
    bus = disk.target.bus
    if disk.address is not None or disk.target_missing:
        return
    number = disk_number(disk.target.dev)
    if bus not in UNITS_PER_BUS:
        return
    controller, rest = divmod(number, UNITS_PER_BUS[bus])
    if bus == "ide":
        disk.address = DriveAddress(controller=controller, bus=rest // 2, unit=rest % 2)
    elif bus == "scsi":
        unit = rest + 1 if rest >= HOST_ADAPTER else rest
        disk.address = DriveAddress(controller=controller, unit=unit)
    else:
        disk.address = DriveAddress(controller=controller, unit=rest)


def disk_number(name: str) -> int:
    """Return the number of a target name: "sda" is 0, "sdz" 25, "sdaa" 26.

    Raises:
        ConfError: "xml": it is no disk name.
    """
    number = disk_index(name)
    if number < 0:
        detail = f"Unknown disk name '{name}' and no address specified"
        raise ConfError("xml", detail, "domain/devices/disk/target/@dev")
    return number


def complete_live_cache(disk: Disk) -> None:
    """Keep a disk that is shared with other writers out of the host's page cache.

    The page cache of this host does not see what another guest or host writes to the image, so
    libvirt starts such a disk with cache=none, unless the definition has a mode. It shows in the
    live XML only (qemuDomainPrepareDiskCachemode).
    """
    if disk.shareable and not disk.readonly:
        disk.driver = disk.driver or DiskDriver()
        if disk.driver.cache in (None, "default"):
            disk.driver.cache = "none"
