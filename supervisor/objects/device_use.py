"""Which running domain has a device of the host, whichever driver runs it.

Owns: finding that in the status files of running domains, which outlive every process and end with
their guests. May touch: those files, to read. May not touch: devices.
Source: libvirt 9.0, virHostdevPreparePCIDevices, virHostdevPrepareUSBDevices.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lxml import etree

from conf.errors import ConfError
from conf.mapper.safe_parse import parse_tree
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.objects.domain_status_xml import StatusError, read_status

DRIVERS: Final = {"qemu": "QEMU", "lxc": "LXC"}  # folders of status files, and libvirt's names
#: The devices of a live XML that are the host's.
PCI_PLACES: Final = ("hostdev[@type='pci']", "interface[@type='hostdev']")
USB_PLACE: Final = "hostdev[@type='usb']"


@dataclass(frozen=True, slots=True, order=True)
class DeviceName:
    """A device as messages name it."""

    kind: str  # "USB" or "PCI"
    place: str  # "001:004", "0000:00:19.0"

    @classmethod
    def usb(cls, bus: int, device: int) -> DeviceName:
        """Name a USB device."""
        return cls("USB", f"{bus:03d}:{device:03d}")


@dataclass(frozen=True, slots=True)
class DeviceUser:
    """A running domain that has a device."""

    driver: str  # libvirt's name of it
    domain: str


def devices_in_use(run: Path, but: tuple[str, str] | None = None) -> dict[DeviceName, DeviceUser]:
    """List the host's devices that running domains have.

    Args:
        run: the daemon's folder of state.
        but: driver and name of a domain that is left out.
    """
    users: dict[DeviceName, DeviceUser] = {}
    for folder, driver in DRIVERS.items():
        for status in sorted((run / folder).glob("*.xml")):
            if (folder, status.stem) != but:
                users |= {name: DeviceUser(driver, status.stem) for name in _devices_of(status)}
    return users


def refuse_used(device: DeviceName, users: Mapping[DeviceName, DeviceUser]) -> None:
    """Refuse a device that a running domain has.

    Raises:
        VirError: OPERATION_INVALID.
    """
    user = users.get(device)
    if user is not None:
        what = f"{device.kind} device {device.place}"
        detail = f"{what} is in use by driver {user.driver}, domain {user.domain}"
        raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.NONE)


def _devices_of(status: Path) -> list[DeviceName]:
    """List the devices that a status file names; none of one that cannot be read."""
    try:
        found = read_status(status)
        tree = parse_tree(found[1]) if found is not None else None
    except (OSError, ConfError, StatusError):
        return []  # its worker says so
    return [] if tree is None else [*_usb_devices(tree), *_pci_devices(tree)]


def _usb_devices(tree: etree._Element) -> Iterator[DeviceName]:
    for address in tree.iterfind(f"devices/{USB_PLACE}/source/address"):
        with contextlib.suppress(ValueError):
            bus, device = (int(address.get(part, ""), 0) for part in ("bus", "device"))
            yield DeviceName.usb(bus, device)


def _pci_devices(tree: etree._Element) -> Iterator[DeviceName]:
    for place in PCI_PLACES:
        for address in tree.iterfind(f"devices/{place}/source/address"):
            with contextlib.suppress(ValueError):
                parts = ("domain", "bus", "slot", "function")
                domain, bus, slot, function = (int(address.get(part, "0"), 0) for part in parts)
                yield DeviceName("PCI", f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}")
