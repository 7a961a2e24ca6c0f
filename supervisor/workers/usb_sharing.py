"""USB devices of the host belong to one guest at a time, whichever driver runs it.

Owns: finding the guest that has a device, and the lock under which that is asked and written down.
May touch: the status files of running domains, to read; that lock. May not touch: devices.
Source: libvirt 9.0 virHostdevPrepareUSBDevices; who has what is in the status files, which outlive
every process and end with their guests.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Final

from conf.domain.devices.hostdev import Hostdev
from conf.errors import ConfError
from conf.mapper.safe_parse import parse_tree
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.objects.domain_status_xml import StatusError, read_status
from supervisor.runtime.paths import Paths
from supervisor.workers.lock_file import LockHeld, take_lock
from supervisor.workers.usb_devices import is_usb

LOCK_S: Final = 30.0  # for others that take a device: a start's preparation
DRIVERS: Final = {"qemu": "QEMU", "lxc": "LXC"}  # folders of status files, and libvirt's names

Place = tuple[int, int]  # bus, device


@contextlib.asynccontextmanager
async def exclusive(paths: Paths, name: str, hostdevs: Iterable[Hostdev]) -> AsyncIterator[None]:
    """Hold the USB devices for a domain until its status file names them.

    Args:
        paths: of the daemon.
        name: of the domain, whose own status file does not count.
        hostdevs: those to be taken, their places found.

    Raises:
        VirError: OPERATION_INVALID: another running domain has one; OPERATION_TIMEOUT: the guests
            that are taking devices do not come to an end.
    """
    wanted: set[Place] = set()
    for hostdev in hostdevs:
        bus, device = hostdev.source.bus, hostdev.source.device
        if is_usb(hostdev) and bus is not None and device is not None:
            wanted.add((bus, device))
    if not wanted:
        yield
        return
    paths.run.mkdir(parents=True, exist_ok=True)
    try:
        lock = await take_lock(paths.run / "usb.lock", LOCK_S)
    except LockHeld as error:
        detail = f"cannot take a USB device: {error}"
        raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.NONE) from error
    try:
        taken = await asyncio.to_thread(taken_devices, paths, name)
        for place in sorted(wanted & taken.keys()):
            bus, device = place
            driver, owner = taken[place]
            detail = (
                f"USB device {bus:03d}:{device:03d} is in use by driver {driver}, domain {owner}"
            )
            raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.NONE)
        yield
    finally:
        os.close(lock)


def taken_devices(paths: Paths, but: str) -> dict[Place, tuple[str, str]]:
    """List the USB devices that running domains have: driver and name by place.

    Args:
        paths: of the daemon.
        but: a domain of its driver that is left out.
    """
    taken: dict[Place, tuple[str, str]] = {}
    for folder, driver in DRIVERS.items():
        for status in sorted((paths.run / folder).glob("*.xml")):
            if (folder, status.stem) == (paths.driver, but):
                continue
            taken |= {place: (driver, status.stem) for place in _places(status)}
    return taken


def _places(status: Path) -> list[Place]:
    """List the USB devices that a status file names; none of one that cannot be read."""
    try:
        found = read_status(status)
        tree = parse_tree(found[1]) if found is not None else None
    except (OSError, ConfError, StatusError):
        return []  # its worker says so
    if tree is None:
        return []
    places: list[Place] = []
    for address in tree.iterfind("devices/hostdev[@type='usb']/source/address"):
        with contextlib.suppress(ValueError):
            places.append((int(address.get("bus", ""), 0), int(address.get("device", ""), 0)))
    return places
