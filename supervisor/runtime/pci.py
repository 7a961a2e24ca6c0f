"""PCI devices of the host: which driver has one, and giving it to vfio-pci and back.

Owns: the writes to /sys/bus/pci that change a device's driver.
May not touch: guests; who may have a device is `supervisor.objects.device_use`'s.
Source: Linux, Documentation/ABI/testing/sysfs-bus-pci and driver-api/vfio.rst; libvirt 9.0,
virpci.c and qemu_hostdev.c, measured.

`driver_override` is written before anything else and cleared last: whenever this process dies, the
device is either the host's, or known by its override as one that was to be a guest's.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conf.domain.devices.address import PciAddress
from ipc import BusError, Node
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.messages.root import LoadVfio
from supervisor.runtime.kernel_files import write_file

VFIO: Final = "vfio-pci"
PROBE: Final = "drivers_probe"
BUS: Final = Path("/sys/bus/pci")
GROUPS: Final = Path("/sys/kernel/iommu_groups")
CONTAINER: Final = Path("/dev/vfio/vfio")
HEADER_TYPE: Final = 0x0E  # in the configuration space; bit 7 says that there are more functions
HEADER_SIZE: Final = 64


@dataclass(frozen=True, slots=True)
class Write:
    """One attribute of sysfs and its new value."""

    path: Path
    value: str


@dataclass(frozen=True, slots=True)
class PciDevice:
    """A function of the host's PCI bus."""

    address: str  # "0000:00:19.0"
    bus: Path = BUS

    @classmethod
    def at(cls, place: PciAddress, bus: Path = BUS) -> PciDevice:
        """Name the device of an address."""
        domain, number, slot = place.domain or 0, place.bus or 0, place.slot or 0
        return cls(f"{domain:04x}:{number:02x}:{slot:02x}.{place.function or 0:x}", bus)

    @property
    def folder(self) -> Path:
        """Its folder in sysfs."""
        return self.bus / "devices" / self.address

    @property
    def driver(self) -> str:
        """The driver that has it; "": none."""
        return _link_name(self.folder / "driver")

    @property
    def override(self) -> str:
        """The only driver that may have it; "": any that knows it."""
        try:
            text = (self.folder / "driver_override").read_text().strip()
        except OSError:
            return ""
        return "" if text == "(null)" else text

    @property
    def group(self) -> str:
        """The number of its IOMMU group; "": it has none."""
        return _link_name(self.folder / "iommu_group")

    @property
    def group_addresses(self) -> list[str]:
        """The addresses of all devices that the IOMMU cannot tell from it, its own among them."""
        try:
            return sorted(os.listdir(self.folder / "iommu_group/devices"))
        except OSError:
            return [self.address]

    @property
    def is_endpoint(self) -> bool:
        """Whether it is no bridge; what the kernel does not show counts as none."""
        try:
            with (self.folder / "config").open("rb") as config:
                header = config.read(HEADER_SIZE)
        except OSError:
            return True
        return len(header) <= HEADER_TYPE or header[HEADER_TYPE] & 0x7F == 0


def _link_name(link: Path) -> str:
    try:
        return os.path.basename(os.readlink(link))
    except OSError:
        return ""


def plan_bind(device: PciDevice, driver: str) -> list[Write]:
    """Plan how vfio-pci gets a device. Pure.

    Args:
        device: the device.
        driver: that has it now; "": none.
    """
    if driver == VFIO:
        return []
    writes = [Write(device.folder / "driver_override", VFIO)]
    if driver:
        writes.append(Write(device.folder / "driver/unbind", device.address))
    return [*writes, Write(device.bus / PROBE, device.address)]


def plan_release(device: PciDevice, driver: str, override: str) -> list[Write]:
    """Plan how the host's own driver gets a device back from vfio-pci. Pure.

    Args:
        device: the device.
        driver: that has it now; "": none.
        override: the driver that it was meant for.
    """
    if driver not in ("", VFIO) or (not driver and override != VFIO):
        return []
    writes = []
    if driver:
        writes.append(Write(device.folder / "driver/unbind", device.address))
    # A line end clears it.
    writes.append(Write(device.folder / "driver_override", "\n"))
    return [*writes, Write(device.bus / PROBE, device.address)]


def require_device(device: PciDevice) -> None:
    """Refuse a device that is not there, and a bridge.

    Raises:
        VirError: SYSTEM_ERROR; CONFIG_UNSUPPORTED.
    """
    if not device.folder.exists():
        detail = f"Device {device.address} not found: could not access {device.folder}/config"
        raise VirError(
            ErrorCode.SYSTEM_ERROR, f"{detail}: No such file or directory", ErrorDomain.NONE
        )
    if not device.is_endpoint:
        detail = f"Non-endpoint PCI devices cannot be assigned to guests: {device.address}"
        raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.NONE)


def has_iommu(groups: Path = GROUPS) -> bool:
    """Return whether the host has an IOMMU that is in use."""
    try:
        return bool(os.listdir(groups))
    except OSError:
        return False


def has_vfio(groups: Path = GROUPS, container: Path = CONTAINER) -> bool:
    """Return whether the host can give devices to guests: an IOMMU, and vfio."""
    return has_iommu(groups) and container.exists()


async def load_vfio(node: Node) -> None:
    """Have the root load vfio-pci if the host has an IOMMU; what follows says if it cannot."""
    if await asyncio.to_thread(lambda: has_iommu() and not (BUS / "drivers" / VFIO).is_dir()):
        with contextlib.suppress(BusError):
            await node.control.call(LoadVfio())


def bind(device: PciDevice) -> None:
    """Give a device to vfio-pci; blocks until its driver has let it go.

    Raises:
        VirError: INTERNAL_ERROR: vfio-pci is not loaded, or does not take it; SYSTEM_ERROR. The
            host's driver has it again.
    """
    if device.driver == VFIO:
        return
    if not (device.bus / "drivers" / VFIO).is_dir():
        detail = f"Failed to load PCI driver module {VFIO}; load it with: modprobe {VFIO}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NONE)
    try:
        apply(plan_bind(device, device.driver))
    except VirError:
        release(device)
        raise
    if device.driver != VFIO:
        release(device)
        detail = f"Failed to bind PCI device '{device.address}' to {VFIO}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NONE)


def release(device: PciDevice) -> None:
    """Give a device back to the host's driver, if vfio-pci has it; blocks.

    Raises:
        VirError: SYSTEM_ERROR.
    """
    apply(plan_release(device, device.driver, device.override))


def reset(device: PciDevice) -> None:
    """Reset a device by the kernel, which knows what it can: FLR, power state, its bus.

    vfio-pci resets what it gives to a guest itself.

    Raises:
        VirError: INTERNAL_ERROR.
    """
    if device.driver == VFIO:
        return
    try:
        apply([Write(device.folder / "reset", "1")])
    except VirError as error:
        reason = "no FLR, PM reset or bus reset available"
        detail = f"Unable to reset PCI device {device.address}: {reason}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NONE) from error


def apply(writes: Iterable[Write]) -> None:
    """Write attributes in their order.

    Raises:
        VirError: SYSTEM_ERROR naming the attribute.
    """
    for write in writes:
        try:
            write_file(str(write.path), write.value)
        except OSError as error:
            if write.path.name == PROBE and error.errno == errno.EINVAL:
                continue  # no driver takes the device: callers look at what has it
            detail = f"Unable to write '{write.value.strip()}' to '{write.path}'"
            message = f"{detail}: {error.strerror}"
            raise VirError(ErrorCode.SYSTEM_ERROR, message, ErrorDomain.NONE) from error
