"""The guest's mounted file systems, by the guest agent.

Owns: nothing. May touch: the agent.
Source: libvirt 9.0, virDomainGetFSInfo; QEMU 7.2, guest-get-fsinfo.
"""

from __future__ import annotations

from typing import Final

import msgspec

from conf.domain.devices.address import DriveAddress, PciAddress
from conf.domain.devices.devices import Devices
from conf.domain.devices.disk import Disk
from rpc.values import Domain as DomainId
from rpc.values import DomainFsinfo
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.workers.qemu.agent import guest_agent
from supervisor.workers.qemu.guest import GuestProvider

MAX_FILESYSTEMS: Final = 256  # REMOTE_DOMAIN_FSINFO_MAX
MAX_DISKS: Final = 256  # REMOTE_DOMAIN_FSINFO_DISKS_MAX


class AgentPciAddress(msgspec.Struct, frozen=True):
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


class AgentDiskAddress(msgspec.Struct, frozen=True, rename="kebab"):
    """`GuestDiskAddress`: where a disk is plugged in, as the guest sees it."""

    pci_controller: AgentPciAddress = AgentPciAddress()
    bus: int = 0
    target: int = 0
    unit: int = 0

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


class AgentFilesystem(msgspec.Struct, frozen=True):
    """`GuestFilesystemInfo`."""

    name: str
    mountpoint: str
    type: str
    disk: list[AgentDiskAddress] = []


class FilesystemCalls:
    """Calls on the guest's file systems."""

    def __init__(self, worker: GuestProvider) -> None:
        self._worker = worker

    async def domain_get_fsinfo(
        self, call: ClientCall, dom: DomainId, flags: int
    ) -> tuple[list[DomainFsinfo], int]:
        """Query the mounted file systems, and the domain's disks that each is on."""
        guest = self._worker.guest()
        mounted = await guest_agent.query(guest, "guest-get-fsinfo", list[AgentFilesystem])
        infos = [to_fsinfo(filesystem, guest.domain.devices) for filesystem in mounted]
        return infos[:MAX_FILESYSTEMS], min(len(infos), MAX_FILESYSTEMS)


def to_fsinfo(filesystem: AgentFilesystem, devices: Devices) -> DomainFsinfo:
    """Convert the agent's reply; disks that the domain does not have are left out."""
    targets = [
        disk.target.dev
        for address in filesystem.disk[:MAX_DISKS]
        for disk in devices.disks
        if address.is_of(disk, devices)
    ]
    return DomainFsinfo(
        filesystem.mountpoint, filesystem.name, filesystem.type, targets[:MAX_DISKS]
    )
