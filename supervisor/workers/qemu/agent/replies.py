"""What the guest agent returns, as structs; the guest may have written anything.

Owns: which members must be there, and whose device a disk's address is.
May touch: values only.
Source: QEMU 7.2, "QEMU Guest Agent Protocol Reference".
"""

from __future__ import annotations

import msgspec

from conf.domain.devices.address import DriveAddress, PciAddress
from conf.domain.devices.devices import Devices
from conf.domain.devices.disk import Disk


class PciController(msgspec.Struct, frozen=True):
    """`GuestPCIAddress`; -1 where the agent does not know."""

    domain: int = -1
    bus: int = -1
    slot: int = -1
    function: int = -1

    def is_at(self, address: object) -> bool:
        """Return whether it is the PCI address of a device."""
        return isinstance(address, PciAddress) and (
            (self.domain, self.bus, self.slot, self.function)
            == (address.domain, address.bus, address.slot, address.function)
        )


class DiskAddress(msgspec.Struct, frozen=True, rename="kebab"):
    """`GuestDiskAddress`: where a disk is plugged in, as the guest sees it."""

    pci_controller: PciController = PciController()
    bus: int = 0
    target: int = 0
    unit: int = 0
    serial: str | None = None
    dev: str | None = None  # the guest's device node

    def is_of(self, disk: Disk, devices: Devices) -> bool:
        """Return whether it is a disk's.

        A virtio disk is a PCI device itself; the PCI address of others is their controller's.
        """
        address = disk.address
        if not isinstance(address, DriveAddress):
            return self.pci_controller.is_at(address)
        if (address.bus, address.target, address.unit) != (self.bus, self.target, self.unit):
            return False
        controller = (disk.target.bus, address.controller)
        return any(
            self.pci_controller.is_at(candidate.address)
            for candidate in devices.controllers
            if (candidate.type, candidate.index) == controller
        )

    def target_in(self, devices: Devices) -> str | None:
        """Return the target of the domain's disk; None: the domain has no such disk."""
        disks = (disk for disk in devices.disks if self.is_of(disk, devices))
        return next((disk.target.dev for disk in disks), None)


class Filesystem(msgspec.Struct, frozen=True, rename="kebab"):
    """`GuestFilesystemInfo`; sizes in bytes, None where the agent does not know them."""

    name: str
    mountpoint: str
    type: str
    used_bytes: int | None = None
    total_bytes: int | None = None
    disk: list[DiskAddress] = []


class GuestDisk(msgspec.Struct, frozen=True, rename="kebab"):
    """`GuestDiskInfo`: a disk or partition of the guest."""

    name: str
    partition: bool
    dependencies: list[str] = []  # device nodes that it is made of
    address: DiskAddress | None = None
    alias: str | None = None  # the guest's


class IpAddress(msgspec.Struct, frozen=True, rename="kebab"):
    """`GuestIpAddress`."""

    ip_address: str
    ip_address_type: str
    prefix: int


class NetworkInterface(msgspec.Struct, frozen=True, rename="kebab"):
    """`GuestNetworkInterface`."""

    name: str
    hardware_address: str | None = None
    ip_addresses: list[IpAddress] = []


class User(msgspec.Struct, frozen=True, rename="kebab"):
    """`GuestUser`: one who is logged in."""

    user: str
    login_time: float  # seconds since the epoch
    domain: str | None = None  # of Windows


class OsInfo(msgspec.Struct, frozen=True, rename="kebab"):
    """`GuestOSInfo`, in the order of libvirt's parameters."""

    id: str | None = None
    name: str | None = None
    pretty_name: str | None = None
    version: str | None = None
    version_id: str | None = None
    machine: str | None = None
    variant: str | None = None
    variant_id: str | None = None
    kernel_release: str | None = None
    kernel_version: str | None = None


class Timezone(msgspec.Struct, frozen=True):
    """`GuestTimezone`."""

    offset: int  # seconds east of UTC
    zone: str | None = None


class HostName(msgspec.Struct, frozen=True, rename="kebab"):
    """`GuestHostName`."""

    host_name: str


class AuthorizedKeys(msgspec.Struct, frozen=True):
    """`GuestAuthorizedKeys`."""

    keys: list[str]
