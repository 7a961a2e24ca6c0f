"""The host's devices in /sys, and what udev knows of them.

Owns: finding them, their names and parents. Read anew at each call: devices come and go.
May touch: /sys and udev's database, to read. May not touch: devices themselves.
Source: libvirt 9.0 node_device_udev.c; the names and documents measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

UDEV_DATABASE: Final = Path("/run/udev/data")
COMPUTER: Final = "computer"
#: Block devices of hypervisors, which are disks without udev's word for it.
DISK_NAMES: Final = ("vd", "xvd")
#: What udev calls a drive, and libvirt.
DRIVE_TYPES: Final = {"disk": "disk", "cd": "cdrom", "dvd": "dvd", "floppy": "floppy"}


@dataclass(frozen=True, slots=True)
class HostDevice:
    """One device: its name, its folder, and the kind of its capability."""

    name: str
    kind: str  # "system", "pci", "usb_device", "usb", "net", "storage"
    path: Path | None = None  # below /sys/devices; None: the host itself
    parent: str | None = None
    udev: dict[str, str] = field(default_factory=dict)  # properties
    links: tuple[str, ...] = ()  # below /dev, by udev


def attribute(folder: Path, name: str) -> str:
    """Read an attribute of a device; "" where it has none, or the kernel gives no value."""
    try:
        return (folder / name).read_text(errors="replace").strip()
    except OSError:
        return ""


def number(folder: Path, name: str, base: int = 0) -> int | None:
    """Read a number; None where there is none."""
    try:
        return int(attribute(folder, name), base)
    except ValueError:
        return None


def devices(sys: Path = Path("/sys"), database: Path = UDEV_DATABASE) -> list[HostDevice]:
    """List the devices of this host, the host itself among them, by name."""
    found = list(_found(sys, database))
    names = {device.path: device.name for device in found}
    whole = [HostDevice(COMPUTER, "system")]
    for device in found:
        assert device.path is not None, "all but the host have one"
        above = next((names[path] for path in device.path.parents if path in names), COMPUTER)
        whole.append(
            HostDevice(device.name, device.kind, device.path, above, device.udev, device.links)
        )
    return sorted(whole, key=lambda device: device.name)


def _found(sys: Path, database: Path) -> Iterator[HostDevice]:
    for path in _entries(sys / "bus/pci/devices"):
        yield HostDevice(_name("pci", path.name), "pci", path)
    for path in _entries(sys / "bus/usb/devices"):
        kind = "usb" if ":" in path.name else "usb_device"
        yield HostDevice(_name("usb", path.name), kind, path)
    for path in _entries(sys / "class/net"):
        address = attribute(path, "address")
        yield HostDevice(_name("net", path.name, address), "net", path)
    for path in _entries(sys / "block"):
        udev, links = _udev(database / f"b{attribute(path, 'dev')}")
        if drive_type(path.name, udev) is not None:
            serial = udev.get("ID_SERIAL", "")
            yield HostDevice(_name("block", path.name, serial), "storage", path, None, udev, links)


def drive_type(name: str, udev: dict[str, str]) -> str | None:
    """Return libvirt's word for a block device; None for one that is no drive, like a loop."""
    if "ID_CDROM_DVD" in udev and udev.get("ID_TYPE") == "cd":
        return "dvd"
    if "ID_TYPE" in udev:
        return DRIVE_TYPES.get(udev["ID_TYPE"], "disk")
    if udev.get("ID_DRIVE_FLOPPY"):
        return "floppy"
    return "disk" if name.startswith(DISK_NAMES) else None


def _entries(folder: Path) -> list[Path]:
    """List the devices that a bus or class links to, where they are in the tree."""
    try:
        return sorted(entry.resolve() for entry in folder.iterdir() if entry.is_dir())
    except OSError:
        return []


def _name(*parts: str) -> str:
    """Make a device's name: letters and digits, all else is an underscore."""
    return re.sub(r"[^A-Za-z0-9]", "_", "_".join(part for part in parts if part))


def _udev(record: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """Read the properties and links of a device in udev's database."""
    properties: dict[str, str] = {}
    links: list[str] = []
    try:
        lines = record.read_text(errors="replace").splitlines()
    except OSError:
        return properties, ()
    for line in lines:
        kind, _, rest = line.partition(":")
        if kind == "E":
            key, _, value = rest.partition("=")
            properties[key] = value
        elif kind == "S":
            links.append(f"/dev/{rest}")
    return properties, tuple(links)
