"""<device>: the documents of the host's devices.

Owns: what each kind says. May touch: /sys, to read; interfaces' settings by ioctl; the list of PCI
names. May not touch: devices themselves: links of PCI Express are in configuration space, which
only the kernel's administrator reads, and are left out.
Source: libvirt 9.0 virNodeDeviceDefFormat, formatnode; measured.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Final

from supervisor.hostd.capabilities.xml_writer import Element, group, text, write
from supervisor.hostd.devices.features import features
from supervisor.hostd.devices.pci_names import pci_names
from supervisor.hostd.devices.sysfs import HostDevice, attribute, drive_type, number

SECTOR: Final = 512  # bytes: the unit of a block device's size, whatever its blocks are
HEADER_TYPE: Final = 0x0E  # in PCI configuration space
BRIDGE: Final = 1  # a header type
EXTENDED_SPACE: Final = 4096  # bytes: only devices of PCI Express have so much
NO_UUID: Final = str(uuid.UUID(int=0))
LINK_STATES: Final = (
    "unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up",
)  # fmt: skip


def device_xml(device: HostDevice, dmi: Path = Path("/sys/class/dmi/id")) -> str:
    """Write a device's document."""
    inside: list[Element | None] = [text("name", device.name)]
    capability: Element
    if device.path is None:
        capability = _system(dmi)
    else:
        inside.append(text("path", device.path))
        node = attribute_of_uevent(device.path, "DEVNAME")
        if node and device.kind != "net":
            inside.append(("devnode", {"type": "dev"}, f"/dev/{node}"))
        inside += [("devnode", {"type": "link"}, link) for link in device.links]
        inside.append(text("parent", device.parent))
        driver = device.path / "driver"
        if driver.exists():
            inside.append(group("driver", text("name", driver.resolve().name)))
        capability = KINDS[device.kind](device)
    return write(group("device", *inside, capability))


def attribute_of_uevent(folder: Path, name: str) -> str:
    """Return a line of a device's uevent file; "" where it has none."""
    for line in attribute(folder, "uevent").splitlines():
        key, _, value = line.partition("=")
        if key == name:
            return value
    return ""


def _texts(**values: object) -> list[Element | None]:
    return [text(name, value) for name, value in values.items() if value not in (None, "")]


def _system(dmi: Path) -> Element:
    """Describe the host by its SMBIOS tables."""
    hardware = _texts(
        vendor=attribute(dmi, "sys_vendor"),
        version=attribute(dmi, "product_version"),
        serial=attribute(dmi, "product_serial"),
        uuid=attribute(dmi, "product_uuid") or NO_UUID,
    )
    firmware = _texts(
        vendor=attribute(dmi, "bios_vendor"),
        version=attribute(dmi, "bios_version"),
        release_date=attribute(dmi, "bios_date"),
    )
    return group(
        "capability",
        *_texts(product=attribute(dmi, "product_name")),
        group("hardware", *hardware),
        group("firmware", *firmware),
        type="system",
    )


def _pci(device: HostDevice) -> Element:
    path = device.path
    assert path is not None, "it is in /sys"
    vendor, product = number(path, "vendor") or 0, number(path, "device") or 0
    vendor_name, product_name = pci_names(vendor, product)
    cell = number(path, "numa_node", 10)
    return group(
        "capability",
        text("class", f"{number(path, 'class') or 0:#08x}"),
        *(text(name, value) for name, value in _place(path.name).items()),
        ("product", {"id": f"{product:#06x}"}, product_name),
        ("vendor", {"id": f"{vendor:#06x}"}, vendor_name),
        _physical_function(path),
        _virtual_functions(path),
        group("capability", type="pci-bridge") if _header_type(path) == BRIDGE else None,
        _iommu_group(path),
        ("numa", {"node": cell}, "") if cell is not None and cell >= 0 else None,
        group("pci-express") if _is_express(path) else None,
        type="pci",
    )


def _place(name: str) -> dict[str, int]:
    """Split a PCI address, 0000:00:1f.2."""
    domain, bus, rest = name.split(":")
    slot, function = rest.split(".")
    numbers = (int(domain, 16), int(bus, 16), int(slot, 16), int(function, 16))
    return dict(zip(("domain", "bus", "slot", "function"), numbers, strict=True))


def _address(name: str) -> Element:
    at = _place(name)
    widths = {"domain": 6, "bus": 4, "slot": 4, "function": 3}
    return "address", {part: f"{at[part]:#0{widths[part]}x}" for part in at}, ""


def _physical_function(path: Path) -> Element | None:
    owner = path / "physfn"
    if not owner.exists():
        return None
    return group("capability", _address(owner.resolve().name), type="phys_function")


def _virtual_functions(path: Path) -> Element | None:
    most = number(path, "sriov_totalvfs", 10)
    if not most:
        return None
    links = sorted(path.glob("virtfn*"), key=lambda link: int(link.name.removeprefix("virtfn")))
    functions = [_address(link.resolve().name) for link in links]
    return group("capability", *functions, type="virt_functions", maxCount=most)


def _iommu_group(path: Path) -> Element | None:
    folder = path / "iommu_group"
    if not folder.exists():
        return None
    members = sorted(entry.name for entry in (folder / "devices").iterdir())
    addresses = [_address(name) for name in members if name.count(":") == 2]
    return group("iommuGroup", *addresses, number=folder.resolve().name)


def _header_type(path: Path) -> int:
    try:
        with (path / "config").open("rb") as config:
            return config.read(HEADER_TYPE + 1)[HEADER_TYPE] & 0x7F
    except (OSError, IndexError):
        return 0


def _is_express(path: Path) -> bool:
    try:
        return (path / "config").stat().st_size == EXTENDED_SPACE
    except OSError:
        return False


def _usb_device(device: HostDevice) -> Element:
    path = device.path
    assert path is not None, "it is in /sys"
    product, vendor = number(path, "idProduct", 16) or 0, number(path, "idVendor", 16) or 0
    return group(
        "capability",
        text("bus", number(path, "busnum", 10) or 0),
        text("device", number(path, "devnum", 10) or 0),
        ("product", {"id": f"{product:#06x}"}, attribute(path, "product")),
        ("vendor", {"id": f"{vendor:#06x}"}, attribute(path, "manufacturer")),
        type="usb_device",
    )


def _usb_interface(device: HostDevice) -> Element:
    path = device.path
    assert path is not None, "it is in /sys"
    return group(
        "capability",
        text("number", number(path, "bInterfaceNumber", 16) or 0),
        text("class", number(path, "bInterfaceClass", 16) or 0),
        text("subclass", number(path, "bInterfaceSubClass", 16) or 0),
        text("protocol", number(path, "bInterfaceProtocol", 16) or 0),
        *_texts(description=attribute(path, "interface")),
        type="usb",
    )


def _net(device: HostDevice) -> Element:
    path = device.path
    assert path is not None, "it is in /sys"
    state, speed = attribute(path, "operstate"), number(path, "speed", 10)
    link: dict[str, object] = {}
    if speed:
        link["speed"] = speed & 0xFFFFFFFF  # the kernel's -1 for "unknown", as libvirt prints it
    if state in LINK_STATES:
        link["state"] = state
    kind = "80211" if attribute_of_uevent(path, "DEVTYPE") == "wlan" else "80203"
    return group(
        "capability",
        text("interface", path.name),
        *_texts(address=attribute(path, "address")),
        ("link", link, "") if link else None,
        *(("feature", {"name": name}, "") for name in features(path.name)),
        group("capability", type=kind),
        type="net",
    )


def _storage(device: HostDevice) -> Element:
    path = device.path
    assert path is not None, "it is in /sys"
    drive = drive_type(path.name, device.udev) or "disk"
    removable = attribute(path, "removable") == "1"
    block = number(path / "queue", "logical_block_size", 10) or SECTOR
    size = (number(path, "size", 10) or 0) * SECTOR
    sizes = _texts(size=size, logical_block_size=block, num_blocks=size // block)
    if removable or drive in ("cdrom", "dvd", "floppy"):
        available = text("media_available", int(size > 0))
        media = [available, *_texts(media_size=size or None)]
        label = device.udev.get("ID_FS_LABEL", "")
        sizes = [group("capability", *media, *_texts(media_label=label), type="removable")]
    return group(
        "capability",
        text("block", f"/dev/{path.name}"),
        *_texts(
            bus=device.udev.get("ID_BUS", ""),
            drive_type=drive,
            model=attribute(path, "device/model"),
            vendor=attribute(path, "device/vendor"),
            serial=device.udev.get("ID_SERIAL", ""),
        ),
        *sizes,
        type="storage",
    )


KINDS: Final = {
    "pci": _pci,
    "usb_device": _usb_device,
    "usb": _usb_interface,
    "net": _net,
    "storage": _storage,
}
