"""Which running domain has a device of the host, whichever driver runs it.

Owns: finding that in the status files of running domains, which outlive every process and end with
their guests. May touch: those files, to read. May not touch: devices.
Source: libvirt 9.0, virHostdevPreparePCIDevices and its neighbours, measured.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lxml import etree

from conf.domain.devices.hostdev import Hostdev
from conf.errors import ConfError
from conf.mapper import parse
from conf.mapper.safe_parse import parse_tree
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.objects.domain_status_xml import StatusError, read_status
from supervisor.runtime.pci import PciDevice
from supervisor.runtime.scsi_devices import is_unit, unit_name

DRIVERS: Final = {"qemu": "QEMU", "lxc": "LXC"}  # folders of status files, and libvirt's names


@dataclass(frozen=True, slots=True, order=True)
class HeldDevice:
    """A device of the host, as libvirt names it when it is in use."""

    kind: str
    name: str

    @classmethod
    def pci(cls, address: str) -> HeldDevice:
        """Name a PCI device by its address."""
        return cls("PCI device", address)

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Holder:
    """The guest that has a device."""

    driver: str
    name: str
    shares: bool = False  # <shareable/>: others that say so, too, may have it


def refuse_second(held: HeldDevice, holder: Holder, *, shares: bool) -> None:
    """Refuse a device that another guest has, unless both share it.

    Raises:
        VirError: OPERATION_INVALID.
    """
    if shares and holder.shares:
        return
    detail = f"{held} is in use by driver {holder.driver}, domain {holder.name}"
    if held.kind == "SCSI device":
        way = "shareable" if holder.shares else "non-shareable"
        detail = f"{held} is already in use by other domain(s) as '{way}'"
    raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.NONE)


def held_device(hostdev: Hostdev) -> HeldDevice | None:
    """Return the device that a <hostdev> takes; None: it takes none, or is not there."""
    source = hostdev.source
    if hostdev.mode != "subsystem" or source.missing:
        return None
    match hostdev.type:
        case "usb" if source.bus is not None and source.device is not None:
            return HeldDevice("USB device", f"{source.bus:03d}:{source.device:03d}")
        case "pci" if source.pci is not None:
            return HeldDevice.pci(PciDevice.at(source.pci).address)
        case "mdev" if source.uuid:
            return HeldDevice("mediated device", f"/sys/bus/mdev/devices/{source.uuid}")
        case "scsi_host" if source.wwpn:
            return HeldDevice("SCSI_host device", source.wwpn)
        case "scsi" if is_unit(hostdev):
            with contextlib.suppress(VirError):  # its start refuses an adapter without a number
                return HeldDevice("SCSI device", unit_name(hostdev))
    return None


def devices_of(hostdev: Hostdev) -> list[HeldDevice]:
    """List what a <hostdev> takes: with a PCI device all that the IOMMU cannot tell from it."""
    held = held_device(hostdev)
    if held is None or hostdev.type != "pci":
        return [held] if held is not None else []
    return [HeldDevice.pci(address) for address in PciDevice(held.name).group_addresses]


def taken_devices(run: Path, but: tuple[str, str] | None = None) -> dict[HeldDevice, Holder]:
    """List the devices that running domains have, and who has each.

    Args:
        run: the daemon's folder of state.
        but: driver and name of a domain that is left out.
    """
    taken: dict[HeldDevice, Holder] = {}
    for folder, driver in DRIVERS.items():
        for status in sorted((run / folder).glob("*.xml")):
            if (folder, status.stem) == but:
                continue
            for hostdev in _hostdevs(status):
                if held := held_device(hostdev):
                    taken[held] = Holder(driver, status.stem, hostdev.shareable)
    return taken


def _hostdevs(status: Path) -> Iterator[Hostdev]:
    """List the host devices that a status file names; none of one that cannot be read."""
    try:
        found = read_status(status)
        tree = parse_tree(found[1]) if found is not None else None
    except (OSError, ConfError, StatusError):
        return  # its worker says so
    for element in tree.iterfind("devices/hostdev") if tree is not None else ():
        with contextlib.suppress(ConfError):
            yield parse(Hostdev, etree.tostring(element, encoding="unicode"))
