"""USB host devices: find the device of the host that a <hostdev> names.

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
    """List the host's USB devices; one that is unplugged meanwhile is left out.

    Raises:
        VirError: SYSTEM_ERROR: this kernel has no USB.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        detail = f"cannot open directory '{folder}': {error.strerror}"
        raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.NONE) from error
    for entry in entries:
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
    if not matches:
        detail = f"Did not find USB device {_describe(source)}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NONE)
    if len(matches) > 1:
        name = f"{matches[0].vendor:x}:{matches[0].product:x}"
        places = ", ".join(f"{one.bus}:{one.device}" for one in matches)
        detail = f"Multiple USB devices for {name}, use <address> to specify one ({places})"
        raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.NONE)
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


async def list_devices() -> list[UsbDevice]:
    """List the host's USB devices in a thread: reading their descriptors can wake them up.

    Raises:
        VirError: SYSTEM_ERROR: this kernel has no USB.
    """
    return await asyncio.to_thread(lambda: list(read_devices()))


async def resolve_addresses(domain: Domain) -> None:
    """Set the bus and device number of each USB <hostdev>.

    Raises:
        VirError: as `find_device` and `list_devices`.
    """
    if any(is_usb(hostdev) for hostdev in domain.devices.hostdevs):
        set_addresses(domain, await list_devices())


def is_usb(hostdev: Hostdev) -> bool:
    """Return whether a <hostdev> is a USB device of the host."""
    return hostdev.mode == "subsystem" and hostdev.type == "usb"


def set_address(hostdev: Hostdev, devices: Sequence[UsbDevice]) -> None:
    """Set the bus and device number of a USB <hostdev>.

    Raises:
        VirError: as `find_device`.
    """
    found = find_device(hostdev.source, devices)
    hostdev.source.address = HostAddress(bus=found.bus, device=found.device)


def set_addresses(domain: Domain, devices: Sequence[UsbDevice]) -> None:
    """Set them for every USB <hostdev>; with startupPolicy='optional' one may be missing.

    Raises:
        VirError: as `find_device`.
    """
    for hostdev in domain.devices.hostdevs:
        if not is_usb(hostdev):
            continue
        try:
            set_address(hostdev, devices)
        except VirError as error:
            absent = error.code == ErrorCode.INTERNAL_ERROR
            if not absent or hostdev.source.startup_policy != "optional":
                raise
            hostdev.source.missing = True


def node(hostdev: Hostdev) -> str:
    """Return the path of the device node of a USB <hostdev> whose address is set; "" without."""
    source = hostdev.source
    if not is_usb(hostdev) or source.missing or source.bus is None or source.device is None:
        return ""
    return f"/dev/bus/usb/{source.bus:03d}/{source.device:03d}"
