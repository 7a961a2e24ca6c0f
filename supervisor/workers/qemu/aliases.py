"""Device aliases, QEMU's ids: net0, virtio-disk0, pci.1 and so on.

Owns: libvirt 9.0's rules for them (qemu_alias.c); a user's alias ("ua-…") stays.
May touch: the `alias` of the domain's devices, nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from conf.domain.devices.address import DimmAddress, DriveAddress
from conf.domain.devices.controller import Controller
from conf.domain.devices.disk import Disk
from conf.domain.model import Domain

USER_PREFIX: Final = "ua-"
DRIVE_BUSES: Final = frozenset({"ide", "sata", "scsi", "fdc"})


class Named(Protocol):
    """A device that has an alias."""

    alias: str | None


def assign_aliases(domain: Domain) -> None:
    """Assign an alias to every device that has none of the user's; idempotent."""
    devices = domain.devices
    for controller in devices.controllers:
        _name(controller, _controller_alias(domain, controller))
    for disk in devices.disks:
        _name(disk, _disk_alias(domain, disk))
    lists: tuple[tuple[str, Iterable[Named]], ...] = (
        ("net", devices.interfaces),
        ("fs", devices.filesystems),
        ("sound", devices.sounds),
        ("hostdev", devices.hostdevs),
        ("redir", devices.redirdevs),
        ("video", devices.videos),
        ("serial", devices.serials),
        ("parallel", devices.parallels),
        ("channel", devices.channels),
        ("hub", devices.hubs),
        ("shmem", devices.shmems),
        ("smartcard", devices.smartcards),
        ("watchdog", devices.watchdogs),
        ("rng", devices.rngs),
        ("tpm", devices.tpms),
        ("panic", devices.panics),
        ("input", devices.inputs),
    )
    for prefix, items in lists:
        for number, item in enumerate(items):
            _name(item, f"{prefix}{number}")
    _name_consoles(domain)
    _name_memories(domain)
    for single, alias in (
        (devices.memballoon, "balloon0"),
        (devices.vsock, "vsock0"),
        (devices.iommu, "iommu0"),
        (devices.nvram, "nvram"),
    ):
        if single is not None:
            _name(single, alias)


def _name(device: Named, alias: str) -> None:
    if device.alias is None or not device.alias.startswith(USER_PREFIX):
        device.alias = alias


def _controller_alias(domain: Domain, controller: Controller) -> str:
    kind, index = controller.type, controller.index
    if kind == "pci":
        return f"pcie.{index}" if controller.model == "pcie-root" else f"pci.{index}"
    # The built-in controllers of PC machines have QEMU's own names for their buses.
    if index == 0 and (kind in ("usb", "ide") or (kind == "sata" and _is_q35(domain))):
        return "ide" if kind == "sata" else kind
    return f"{kind}{index}"


def _is_q35(domain: Domain) -> bool:
    machine = domain.os.type.machine or ""
    return machine == "q35" or machine.startswith("pc-q35-")


def _disk_alias(domain: Domain, disk: Disk) -> str:
    bus = disk.target.bus or ""
    address = disk.address
    if bus not in DRIVE_BUSES or not isinstance(address, DriveAddress):
        return f"{bus}-disk{disk_index(disk.target.dev or '')}"
    if bus == "scsi" and _scsi_model(domain, address.controller) != "lsilogic":
        location = f"{address.controller}-{address.bus}-{address.target}-{address.unit}"
    else:
        location = f"{address.controller}-{address.bus}-{address.unit}"
    return f"{bus}{location}"


def _scsi_model(domain: Domain, index: int) -> str | None:
    controllers = domain.devices.controllers
    return next((c.model for c in controllers if c.type == "scsi" and c.index == index), None)


def disk_index(target: str) -> int:
    """Return the number in a target's name: vda is 0, vdaa is 26 (virDiskNameToIndex)."""
    letters = target[2:] if target.startswith(("hd", "sd", "vd", "fd", "ub")) else target[3:]
    index = 0
    for letter in letters:
        if not "a" <= letter <= "z":
            break
        index = index * 26 + ord(letter) - ord("a") + 1
    return max(index - 1, 0)


def _name_consoles(domain: Domain) -> None:
    """Give the first console the first serial port's alias, if it is the same device."""
    serials = domain.devices.serials
    for number, console in enumerate(domain.devices.consoles):
        if console.target_type == "serial" and number == 0 and serials:
            console.alias = serials[0].alias
        else:
            _name(console, f"console{number}")


def _name_memories(domain: Domain) -> None:
    """Assign memory devices an alias by model: dimm2 in slot 2, virtiomem0 for the first one."""
    counts: dict[str, int] = {}
    for item in domain.devices.memories:
        prefix = item.model.replace("-", "")
        number = counts.get(prefix, 0)
        counts[prefix] = number + 1
        if isinstance(item.address, DimmAddress):
            number = item.address.slot
        _name(item, f"{prefix}{number}")
