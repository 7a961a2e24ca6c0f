"""A PCI bus in a folder, whose drivers bind and let go as the kernel's do."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from supervisor.runtime import pci
from supervisor.runtime.pci import PciDevice


class PciBus:
    """The bus: devices, drivers, and what a write to an attribute does."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = root / "bus/pci"
        self.native: dict[str, str] = {}  # the host's own drivers, by address
        self.writes: list[tuple[str, str]] = []
        self.vfio_takes = True
        (self.path / "drivers/vfio-pci").mkdir(parents=True)
        monkeypatch.setattr(pci, "write_file", self.write)

    def add(self, address: str, driver: str = "", *, group: str = "", header: int = 0) -> PciDevice:
        """Plug a device in, which its driver takes."""
        folder = self.path / "devices" / address
        folder.mkdir(parents=True)
        (folder / "config").write_bytes(bytes(14) + bytes([header]) + bytes(49))
        (folder / "driver_override").write_text("(null)\n")
        if group:
            members = self.path.parent / "groups" / group / "devices"
            members.mkdir(parents=True, exist_ok=True)
            (members / address).symlink_to(folder)
            (folder / "iommu_group").symlink_to(members.parent)
        self.native[address] = driver
        device = PciDevice(address, self.path)
        self._bind(device)
        return device

    def write(self, path: str, value: str) -> None:
        """Write to an attribute, as the kernel takes it."""
        place = Path(path)
        self.writes.append((place.name, value.strip()))
        if place.name == "drivers_probe":
            self._probe(PciDevice(value, self.path))
        elif place.name == "unbind":
            (self.path / "devices" / value / "driver").unlink()
        elif place.name == "driver_override":
            place.write_text(f"{value.strip() or '(null)'}\n")
        else:
            raise OSError(errno.ENOENT, "No such file or directory")

    def _probe(self, device: PciDevice) -> None:
        if not self._bind(device):
            raise OSError(errno.EINVAL, "Invalid argument")

    def _bind(self, device: PciDevice) -> bool:
        driver = device.override or self.native[device.address]
        if driver == "vfio-pci" and not self.vfio_takes:
            return False
        if driver:
            folder = self.path / "drivers" / driver
            folder.mkdir(parents=True, exist_ok=True)
            (device.folder / "driver").symlink_to(folder)
        return bool(driver)
