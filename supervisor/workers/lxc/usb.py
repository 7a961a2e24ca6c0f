"""USB host devices of a container: find the device that a <hostdev> names.

Owns: the search. May touch: nothing; /sys/bus/usb is read.
Source: Linux, Documentation/ABI/testing/sysfs-bus-usb; libvirt 9.0 formatdomain, "USB devices".
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conf.domain import Domain
from conf.domain.devices.hostdev import HostAddress, Hostdev, HostdevSource
from rpc.errors import ErrorCode, ErrorDomain, VirError

DEVICES: Final = Path("/sys/bus/usb/devices")


@dataclass(frozen=True, slots=True)
class UsbDevice:
    """A USB device of the host."""

    bus: int
    device: int
    vendor: int
    product: int


def read_devices(folder: Path = DEVICES) -> Iterator[UsbDevice]:
    """List the host's USB devices; one that is unplugged meanwhile is left out."""
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            yield UsbDevice(
                int((entry / "busnum").read_text()),
                int((entry / "devnum").read_text()),
                int((entry / "idVendor").read_text(), 16),
                int((entry / "idProduct").read_text(), 16),
            )
        except (OSError, ValueError):  # a USB interface, or an unplugged device
            continue


def find_device(source: HostdevSource, devices: Sequence[UsbDevice]) -> UsbDevice:
    """Find the device that a <source> names.

    Raises:
        VirError: INTERNAL_ERROR: there is none; OPERATION_FAILED: several match.
    """
    matches = [one for one in devices if _matches(source, one)]
    name = _describe(source)
    if not matches:
        raise VirError(ErrorCode.INTERNAL_ERROR, f"Did not find USB device {name}", ErrorDomain.LXC)
    if len(matches) > 1:
        places = ", ".join(f"{one.bus}:{one.device}" for one in matches)
        detail = f"Multiple USB devices for {name} ({places}): use <address> to specify one"
        raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.LXC)
    return matches[0]


def _matches(source: HostdevSource, one: UsbDevice) -> bool:
    requested = (source.bus, source.device, source.vendor, source.product)
    actual = (one.bus, one.device, one.vendor, one.product)
    return all(
        field is None or field == value for field, value in zip(requested, actual, strict=True)
    )


def _describe(source: HostdevSource) -> str:
    parts = []
    if source.vendor is not None and source.product is not None:
        parts.append(f"{source.vendor:04x}:{source.product:04x}")
    if source.bus is not None:
        parts.append(f"bus:{source.bus} device:{source.device}")
    return " ".join(parts)


async def resolve_addresses(domain: Domain) -> None:
    """Set the bus and device number of each USB <hostdev> of a container.

    Raises:
        VirError: as `find_device`.
    """
    if any(one.mode == "subsystem" for one in domain.devices.hostdevs):
        set_addresses(domain, await asyncio.to_thread(lambda: list(read_devices())))


def set_address(hostdev: Hostdev, devices: Sequence[UsbDevice]) -> None:
    """Set the bus and device number of a USB <hostdev>.

    Raises:
        VirError: as `find_device`.
    """
    found = find_device(hostdev.source, devices)
    hostdev.source.address = HostAddress(bus=found.bus, device=found.device)


def set_addresses(domain: Domain, devices: Sequence[UsbDevice]) -> None:
    """Set them for every USB <hostdev>; a missing one with startupPolicy='optional' is dropped.

    Raises:
        VirError: as `find_device`.
    """
    for hostdev in list(domain.devices.hostdevs):
        if hostdev.mode != "subsystem":
            continue
        try:
            set_address(hostdev, devices)
        except VirError as error:
            missing = error.code == ErrorCode.INTERNAL_ERROR
            if not missing or hostdev.source.startup_policy != "optional":
                raise
            domain.devices.hostdevs = [one for one in domain.devices.hostdevs if one is not hostdev]
