"""Checks of the host devices of a completed QEMU domain.

Owns: these checks. Pure: a domain is read, never changed.
Source: libvirt 9.0 virDomainHostdevDefValidate, qemuValidateDomainDeviceDefHostdev; measured.
"""

from __future__ import annotations

from typing import Final

from conf.domain.devices.address import PciAddress
from conf.domain.devices.hostdev import Hostdev
from conf.domain.model import Domain
from conf.errors import ConfError

UNSUPPORTED: Final = "config_unsupported"
#: The types of addresses that each type of device can have, and the refusal of others.
ADDRESSES: Final = {
    "pci": (("pci", "unassigned"), "internal",
            "PCI host devices must use 'pci' or 'unassigned' address type"),
    "scsi": (("drive",), UNSUPPORTED, "SCSI host device must use 'drive' address type"),
    "scsi_host": (("pci", "ccw"), UNSUPPORTED,
                  "SCSI_host host device must use 'pci' or 'ccw' address type"),
    "usb": (("usb",), UNSUPPORTED, "USB host device must use 'usb' address type"),
}  # fmt: skip


def check_hostdevs(domain: Domain) -> None:
    """Check the host devices.

    Raises:
        ConfError: "config_unsupported".
    """
    path = "domain/devices/hostdev"
    for hostdev in domain.devices.hostdevs:
        _check_address(hostdev)
        _check_teaming(hostdev)
        if hostdev.rom is not None and not isinstance(hostdev.address, PciAddress):
            detail = "ROM tuning is only supported for PCI devices"
            raise ConfError(UNSUPPORTED, detail, f"{path}/rom")
        if hostdev.display and not domain.devices.graphics:
            detail = "graphics device is needed for attribute value 'display=on' in <hostdev>"
            raise ConfError(UNSUPPORTED, detail, f"{path}/@display")
        if hostdev.ramfb and not hostdev.display:
            detail = "<hostdev> attribute 'ramfb' needs display='on'"
            raise ConfError(UNSUPPORTED, detail, f"{path}/@ramfb")
    if sum(bool(hostdev.ramfb) for hostdev in domain.devices.hostdevs) > 1:
        detail = "Only one vgpu device can have 'ramfb' enabled"
        raise ConfError(UNSUPPORTED, detail, f"{path}/@ramfb")


def _check_address(hostdev: Hostdev) -> None:
    types, kind, message = ADDRESSES.get(hostdev.type, ((), "", ""))
    if types and hostdev.address is not None and hostdev.address.type not in types:
        raise ConfError(kind, message, "domain/devices/hostdev/address/@type")


def _check_teaming(hostdev: Hostdev) -> None:
    teaming, path = hostdev.teaming, "domain/devices/hostdev/teaming"
    if teaming is None:
        return
    if teaming.type != "transient":
        detail = "teaming hostdev devices must have type='transient'"
        raise ConfError(UNSUPPORTED, detail, f"{path}/@type")
    if teaming.persistent is None:
        detail = "missing required persistent attribute in hostdev teaming element"
        raise ConfError(UNSUPPORTED, detail, f"{path}/@persistent")
    if hostdev.type != "pci":
        raise ConfError(UNSUPPORTED, "teaming is only supported for pci hostdev devices", path)
