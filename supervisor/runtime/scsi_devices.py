"""SCSI host devices: find the device node of the unit that a <hostdev> names.

Owns: the search. May touch: nothing; /sys/bus/scsi is read.
Source: Linux, drivers/scsi/sg.c: a unit's folder has its scsi_generic device; libvirt 9.0,
formatdomain, "USB / PCI / SCSI devices", virscsi.c, measured.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from conf.domain import Domain
from conf.domain.devices.hostdev import HostAddress, Hostdev
from rpc.errors import ErrorCode, ErrorDomain, VirError

DEVICES: Final = Path("/sys/bus/scsi/devices")
ADAPTER: Final = re.compile(r"scsi_host(\d+)")


def is_unit(hostdev: Hostdev) -> bool:
    """Return whether a <hostdev> is a unit of one of the host's adapters, not an iSCSI disk."""
    local = hostdev.source.protocol is None
    return hostdev.mode == "subsystem" and hostdev.type == "scsi" and local


def unit_name(hostdev: Hostdev) -> str:
    """Name a unit as the kernel does: host, bus, target and unit.

    Raises:
        VirError: INTERNAL_ERROR: the adapter has no number.
    """
    adapter, address = hostdev.source.adapter or "", hostdev.source.address or HostAddress()
    number = ADAPTER.fullmatch(adapter)
    if number is None:
        detail = f"Cannot parse adapter '{adapter}'"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NONE)
    return f"{number[1]}:{address.bus or 0}:{address.target or 0}:{address.unit or 0}"


def generic_node(hostdev: Hostdev, devices: Path = DEVICES) -> str:
    """Find the node /dev/sgN of a unit.

    Raises:
        VirError: INTERNAL_ERROR as `unit_name`; SYSTEM_ERROR: the host has no such unit.
    """
    folder = devices / unit_name(hostdev) / "scsi_generic"
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        detail = f"cannot open directory '{folder}': {error.strerror}"
        raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.NONE) from error
    if not names:
        detail = f"the SCSI device {unit_name(hostdev)} has no scsi_generic node"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NONE)
    return f"/dev/{names[0]}"


def generic_nodes(domain: Domain, devices: Path = DEVICES) -> dict[str, str]:
    """Find the nodes of a domain's units, by the alias of each.

    Raises:
        VirError: as `generic_node`.
    """
    units = (hostdev for hostdev in domain.devices.hostdevs if is_unit(hostdev))
    return {hostdev.alias or "": generic_node(hostdev, devices) for hostdev in units}


def node(hostdev: Hostdev, devices: Path = DEVICES) -> str:
    """Return the node of a <hostdev>; "" for one of another kind, or that is gone."""
    try:
        return generic_node(hostdev, devices) if is_unit(hostdev) else ""
    except VirError:
        return ""
