"""Checks of the host devices of a completed QEMU domain.

Owns: these checks. Pure: a domain is read, never changed.
Source: libvirt 9.0 virDomainHostdevDefValidate, qemuValidateDomainDeviceDefHostdev; measured.
"""

from __future__ import annotations

from typing import Final

from conf.domain.devices.address import DriveAddress, PciAddress
from conf.domain.devices.hostdev import Hostdev
from conf.domain.model import Domain
from conf.emulator import EmulatorFacts
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
#: The type of address that each kind of mediated device has.
MDEV_ADDRESSES: Final = {"vfio-pci": "pci", "vfio-ccw": "ccw"}


def check_hostdevs(domain: Domain, facts: EmulatorFacts) -> None:
    """Check the host devices.

    Raises:
        ConfError: "config_unsupported".
    """
    path = "domain/devices/hostdev"
    for hostdev in domain.devices.hostdevs:
        _check_address(hostdev)
        _check_teaming(hostdev)
        _check_model(hostdev, facts)
        if hostdev.sgio == "unfiltered":
            detail = "unfiltered sgio is no longer supported"
            raise ConfError(UNSUPPORTED, detail, f"{path}/@sgio")
        if hostdev.source.write_filtering is not None:
            detail = "Write filtering of PCI device configuration space is not supported by qemu"
            raise ConfError(UNSUPPORTED, detail, f"{path}/source/@writeFiltering")
        if hostdev.rom is not None and not isinstance(hostdev.address, PciAddress):
            detail = "ROM tuning is only supported for PCI devices"
            raise ConfError(UNSUPPORTED, detail, f"{path}/rom")
        if hostdev.display and not domain.devices.graphics:
            detail = "graphics device is needed for attribute value 'display=on' in <hostdev>"
            raise ConfError(UNSUPPORTED, detail, f"{path}/@display")
    if sum(bool(hostdev.ramfb) for hostdev in domain.devices.hostdevs) > 1:
        detail = "Only one vgpu device can have 'ramfb' enabled"
        raise ConfError(UNSUPPORTED, detail, f"{path}/@ramfb")


def check_hostdev_addresses(domain: Domain) -> None:
    """Check the kind of address of the devices whose bus depends on them.

    Raises:
        ConfError: "config_unsupported"; "xml".
    """
    for hostdev in domain.devices.hostdevs:
        address = hostdev.address
        if address is None or hostdev.mode != "subsystem":
            continue
        if hostdev.type == "usb":
            _check_address(hostdev)
        if hostdev.type == "mdev" and address.type != MDEV_ADDRESSES.get(hostdev.model or "", ""):
            detail = (
                f"Unsupported address type '{address.type}' with mediated device model "
                f"'{hostdev.model}'"
            )
            raise ConfError("xml", detail, "domain/devices/hostdev/address/@type")


def _check_model(hostdev: Hostdev, facts: EmulatorFacts) -> None:
    """Check what the emulator has no device for, or boots from none."""
    path = "domain/devices/hostdev"
    name = {"vfio-ccw": "VFIO CCW", "vfio-ap": "VFIO AP"}.get(hostdev.model or "")
    if name is not None and not facts.has_device(hostdev.model or ""):
        detail = f"{name} device assignment is not supported by this version of QEMU"
        raise ConfError(UNSUPPORTED, detail, f"{path}/@model")
    if hostdev.boot_order is None:
        return
    what = ""
    if hostdev.type == "scsi_host":
        what = "vhost SCSI devices"
    elif hostdev.type == "mdev" and hostdev.model != "vfio-ccw":
        what = f"mediated devices of model {hostdev.model}"
    if what:
        detail = f"booting from assigned devices is not supported by {what}"
        raise ConfError(UNSUPPORTED, detail, f"{path}/boot")


def _check_address(hostdev: Hostdev) -> None:
    types, kind, message = ADDRESSES.get(hostdev.type, ((), "", ""))
    if types and hostdev.address is not None and hostdev.address.type not in types:
        raise ConfError(kind, message, "domain/devices/hostdev/address/@type")
    if isinstance(hostdev.address, DriveAddress) and hostdev.address.bus:
        detail = "SCSI controller only supports 1 bus"
        raise ConfError("internal", detail, "domain/devices/hostdev/address/@bus")


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
