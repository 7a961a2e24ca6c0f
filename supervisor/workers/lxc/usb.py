"""USB devices of the host that a container is given: which one a document means.

Owns: looking them up. May touch: nothing; /sys/bus/usb is read.
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
    """A device that is plugged into the host."""

    bus: int
    device: int
    vendor: int
    product: int


def read_devices(folder: Path = DEVICES) -> Iterator[UsbDevice]:
    """The host's devices; what goes while it is looked at is left out."""
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            yield UsbDevice(
                int((entry / "busnum").read_text()),
                int((entry / "devnum").read_text()),
                int((entry / "idVendor").read_text(), 16),
                int((entry / "idProduct").read_text(), 16),
            )
        except (OSError, ValueError):  # an interface of a device, or one that has just gone
            continue


def find_device(source: HostdevSource, devices: Sequence[UsbDevice]) -> UsbDevice:
    """The device that is meant.

    Raises:
        VirError: INTERNAL_ERROR: there is none; OPERATION_FAILED: there are several.
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
    said = (source.bus, source.device, source.vendor, source.product)
    has = (one.bus, one.device, one.vendor, one.product)
    return all(wish is None or wish == value for wish, value in zip(said, has, strict=True))


def _describe(source: HostdevSource) -> str:
    words = []
    if source.vendor is not None and source.product is not None:
        words.append(f"{source.vendor:04x}:{source.product:04x}")
    if source.bus is not None:
        words.append(f"bus:{source.bus} device:{source.device}")
    return " ".join(words)


async def resolve_addresses(domain: Domain) -> None:
    """Have each USB device of a container say where on the host it is.

    Raises:
        VirError: as `find_device`.
    """
    if any(one.mode == "subsystem" for one in domain.devices.hostdevs):
        set_addresses(domain, await asyncio.to_thread(lambda: list(read_devices())))


def set_address(hostdev: Hostdev, devices: Sequence[UsbDevice]) -> None:
    """Have a device say where on the host it is.

    Raises:
        VirError: as `find_device`.
    """
    found = find_device(hostdev.source, devices)
    hostdev.source.address = HostAddress(bus=found.bus, device=found.device)


def set_addresses(domain: Domain, devices: Sequence[UsbDevice]) -> None:
    """Have each of a container's say so; one that may be missing and is goes from the document.

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
