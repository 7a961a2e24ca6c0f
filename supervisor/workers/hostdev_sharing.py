"""Devices of the host belong to one guest at a time, whichever driver runs it.

Owns: finding the guest that has a device, and the lock under which that is asked and written down.
May touch: the status files of running domains, to read; that lock. May not touch: devices.
Source: libvirt 9.0 virHostdevPrepareUSBDevices and its neighbours; who has what is in the status
files, which outlive every process and end with their guests.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterable, Iterator
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
from supervisor.runtime.paths import Paths
from supervisor.workers.lock_file import LockHeld, take_lock
from supervisor.workers.scsi_devices import is_unit, unit_name

LOCK_S: Final = 30.0  # for others that take a device: a start's preparation
DRIVERS: Final = {"qemu": "QEMU", "lxc": "LXC"}  # folders of status files, and libvirt's names


@dataclass(frozen=True, slots=True, order=True)
class HeldDevice:
    """A device of the host, as libvirt names it when it is in use."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Holder:
    """The guest that has a device."""

    driver: str
    name: str
    shares: bool = False  # <shareable/>: others that say so, too, may have it


@contextlib.asynccontextmanager
async def exclusive(paths: Paths, name: str, hostdevs: Iterable[Hostdev]) -> AsyncIterator[None]:
    """Hold the host's devices for a domain until its status file names them.

    Args:
        paths: of the daemon.
        name: of the domain, whose own status file does not count.
        hostdevs: those to be taken, their places found.

    Raises:
        VirError: OPERATION_INVALID: another running domain has one; OPERATION_TIMEOUT: the guests
            that are taking devices do not come to an end.
    """
    wanted = {held: hostdev.shareable for hostdev in hostdevs if (held := held_device(hostdev))}
    if not wanted:
        yield
        return
    paths.run.mkdir(parents=True, exist_ok=True)
    try:
        lock = await take_lock(paths.run / "hostdevs.lock", LOCK_S)
    except LockHeld as error:
        detail = f"cannot take a device of the host: {error}"
        raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.NONE) from error
    try:
        taken = await asyncio.to_thread(taken_devices, paths, name)
        for held in sorted(wanted.keys() & taken.keys()):
            refuse_second(held, taken[held], shares=wanted[held])
        yield
    finally:
        os.close(lock)


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
            at = source.pci
            place = f"{at.domain:04x}:{at.bus:02x}:{at.slot:02x}.{at.function:x}"
            return HeldDevice("PCI device", place)
        case "mdev" if source.uuid:
            return HeldDevice("mediated device", f"/sys/bus/mdev/devices/{source.uuid}")
        case "scsi_host" if source.wwpn:
            return HeldDevice("SCSI_host device", source.wwpn)
        case "scsi" if is_unit(hostdev):
            with contextlib.suppress(VirError):  # its start refuses an adapter without a number
                return HeldDevice("SCSI device", unit_name(hostdev))
    return None


def taken_devices(paths: Paths, but: str) -> dict[HeldDevice, Holder]:
    """List the devices that running domains have, and who has each.

    Args:
        paths: of the daemon.
        but: a domain of its driver that is left out.
    """
    taken: dict[HeldDevice, Holder] = {}
    for folder, driver in DRIVERS.items():
        for status in sorted((paths.run / folder).glob("*.xml")):
            if (folder, status.stem) == (paths.driver, but):
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
