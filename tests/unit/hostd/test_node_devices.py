"""The host's devices: a tree like the kernel's becomes names, parents and documents."""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree

import pytest

from rpc.enums import ConnectListAllNodeDeviceFlags as Flags
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import NodeDevice
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.hostd.calls.node_device import NodeDeviceCalls
from supervisor.hostd.devices.documents import device_xml
from supervisor.hostd.devices.features import features
from supervisor.hostd.devices.pci_names import pci_names
from supervisor.hostd.devices.sysfs import HostDevice, devices
from supervisor.messages.calls import Client, Identity

CALL = ClientCall(
    Client(id="1", identity=Identity(), read_only=True, uri="qemu:///system", driver="qemu")
)
DISK = "block_sda_QEMU_HARDDISK_1"
NAMES = [
    DISK, "block_vda", "computer", "net_eth0_52_54_00_00_00_01", "pci_0000_00_01_0",
    "pci_0000_01_00_0", "usb_1_1", "usb_1_1_1_0",
]  # fmt: skip
UDEV = (
    "S:disk/by-id/ata-QEMU_HARDDISK_1\nE:ID_TYPE=disk\nE:ID_BUS=ata\nE:ID_SERIAL=QEMU HARDDISK 1\n"
)


class Tree:
    """A folder like /sys."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(self, path: str, *links: str, **attributes: str) -> Path:
        """Make a device below devices/, with the links of its buses and classes to it."""
        folder = self.root / "devices" / path
        folder.mkdir(parents=True)
        for name, value in attributes.items():
            (folder / name).write_text(value + "\n")
        for link in links:
            place = self.root / link
            place.mkdir(parents=True, exist_ok=True)
            (place / folder.name).symlink_to(folder)
        return folder


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A bridge, a card behind it with an interface, a USB stick, three block devices."""
    tree = Tree(tmp_path / "sys")
    pci = {"vendor": "0x8086", "device": "0x0d57", "class": "0x060400", "numa_node": "0"}
    bridge = tree.add("pci0000:00/0000:00:01.0", "bus/pci/devices", **pci)
    (bridge / "config").write_bytes(bytes(14) + b"\x01" + bytes(4081))
    pci |= {"class": "0x020000", "numa_node": "-1"}
    card = "pci0000:00/0000:00:01.0/0000:01:00.0"
    function = tree.add(card, "bus/pci/devices", **pci)
    (function / "config").write_bytes(bytes(256))
    driver = tree.root / "bus/pci/drivers/e1000"
    driver.mkdir(parents=True)
    (function / "driver").symlink_to(driver)
    group = tree.root / "kernel/iommu_groups/7"
    (group / "devices").mkdir(parents=True)
    (group / "devices/0000:01:00.0").symlink_to(function)
    (function / "iommu_group").symlink_to(group)
    tree.add(f"{card}/net/eth0", "class/net", address="52:54:00:00:00:01", operstate="up",
             speed="1000", uevent="INTERFACE=eth0")  # fmt: skip
    stick = "pci0000:00/usb1/1-1"
    tree.add(stick, "bus/usb/devices", busnum="1", devnum="5", idVendor="0951", idProduct="1666",
             product="Stick", manufacturer="Kingston", uevent="DEVNAME=bus/usb/001/005",
             )  # fmt: skip
    tree.add(f"{stick}/1-1:1.0", "bus/usb/devices", bInterfaceNumber="00", bInterfaceClass="08",
             bInterfaceSubClass="06", bInterfaceProtocol="50")  # fmt: skip
    for name, number in (("sda", "8:0"), ("vda", "254:0"), ("loop0", "7:0")):
        folder = tree.add(f"virtual/block/{name}", "block", dev=number, size="2048",
                          removable="0", uevent=f"DEVNAME={name}")  # fmt: skip
        (folder / "queue").mkdir()
        (folder / "queue/logical_block_size").write_text("4096\n")
    database = tmp_path / "udev"
    database.mkdir()
    (database / "b8:0").write_text(UDEV)
    return tree


@pytest.fixture
def found(tree: Tree) -> dict[str, HostDevice]:
    """The devices of the tree by their names."""
    listed = devices(tree.root, tree.root.parent / "udev")
    return {device.name: device for device in listed}


def parts(device: HostDevice) -> ElementTree.Element:
    """A device's document."""
    return ElementTree.fromstring(device_xml(device, Path("/nowhere")))


def test_devices_have_libvirts_names_and_the_device_they_are_plugged_into(
    found: dict[str, HostDevice],
) -> None:
    assert list(found) == NAMES  # a loop device is no drive
    assert found["computer"].parent is None
    assert found["pci_0000_00_01_0"].parent == "computer"
    assert found["pci_0000_01_00_0"].parent == "pci_0000_00_01_0"
    assert found["net_eth0_52_54_00_00_00_01"].parent == "pci_0000_01_00_0"
    assert found["usb_1_1_1_0"].parent == "usb_1_1"


def test_pci_functions_are_described(found: dict[str, HostDevice]) -> None:
    bridge = parts(found["pci_0000_00_01_0"])
    assert bridge.findtext("capability/class") == "0x060400"
    assert bridge.find("capability/capability[@type='pci-bridge']") is not None
    assert bridge.find("capability/pci-express") is not None
    assert bridge.find("capability/numa[@node='0']") is not None
    card = parts(found["pci_0000_01_00_0"])
    assert card.findtext("driver/name") == "e1000"
    assert [card.findtext(f"capability/{part}") for part in ("bus", "slot", "function")] == [
        "1", "0", "0",
    ]  # fmt: skip
    assert card.find("capability/vendor[@id='0x8086']") is not None
    group = card.find("capability/iommuGroup[@number='7']/address")
    assert group is not None
    assert group.attrib == {
        "domain": "0x0000", "bus": "0x01", "slot": "0x00", "function": "0x0",
    }  # fmt: skip
    assert card.find("capability/pci-express") is None
    assert card.find("capability/numa") is None


def test_interfaces_usb_devices_and_disks_are_described(found: dict[str, HostDevice]) -> None:
    card = parts(found["net_eth0_52_54_00_00_00_01"])
    assert card.findtext("capability/interface") == "eth0"
    assert card.find("capability/link[@speed='1000'][@state='up']") is not None
    assert card.find("capability/capability[@type='80203']") is not None
    stick = parts(found["usb_1_1"])
    assert stick.findtext("devnode") == "/dev/bus/usb/001/005"
    assert stick.findtext("capability/product[@id='0x1666']") == "Stick"
    assert parts(found["usb_1_1_1_0"]).findtext("capability/protocol") == "80"
    disk = parts(found[DISK])
    assert [node.text for node in disk.findall("devnode")] == [
        "/dev/sda", "/dev/disk/by-id/ata-QEMU_HARDDISK_1",
    ]  # fmt: skip
    assert disk.findtext("capability/serial") == "QEMU HARDDISK 1"
    assert disk.findtext("capability/size") == "1048576"
    assert disk.findtext("capability/num_blocks") == "256"


def test_the_host_without_smbios_has_no_uuid(found: dict[str, HostDevice]) -> None:
    host = parts(found["computer"])
    assert host.findtext("capability/hardware/uuid") == "00000000-0000-0000-0000-000000000000"


async def test_lists_hold_what_the_flags_ask_for(found: dict[str, HostDevice]) -> None:
    calls = NodeDeviceCalls(lambda: list(found.values()))
    assert await calls.connect_list_all_node_devices(CALL, 0, 0) == ([], len(NAMES))
    network, count = await calls.connect_list_all_node_devices(CALL, 1, Flags.CAP_NET)
    assert (network, count) == ([NodeDevice("net_eth0_52_54_00_00_00_01")], 1)
    either = Flags.CAP_PCI_DEV | Flags.CAP_USB_DEV | Flags.ACTIVE
    assert (await calls.connect_list_all_node_devices(CALL, 1, either))[1] == 3
    assert (await calls.connect_list_all_node_devices(CALL, 1, Flags.INACTIVE))[1] == 0
    assert (await calls.connect_list_all_node_devices(CALL, 1, Flags.CAP_MDEV))[1] == 0
    assert await calls.node_num_of_devices(CALL, None, 0) == len(NAMES)
    assert await calls.node_list_devices(CALL, "storage", 1, 0) == [DISK]
    assert await calls.node_list_devices(CALL, None, -1, 0) == []
    with pytest.raises(VirError, match="nodeConnectListAllNodeDevices"):
        await calls.connect_list_all_node_devices(CALL, 1, 1 << 25)


async def test_a_device_is_looked_up_and_one_that_is_not_there_is_named(
    found: dict[str, HostDevice],
) -> None:
    calls = NodeDeviceCalls(lambda: list(found.values()))
    assert await calls.node_device_lookup_by_name(CALL, "computer") == NodeDevice("computer")
    assert await calls.node_device_get_parent(CALL, "computer") is None
    assert await calls.node_device_list_caps(CALL, "usb_1_1", 5) == ["usb_device"]
    assert await calls.node_device_num_of_caps(CALL, "usb_1_1") == 1
    assert await calls.node_device_is_active(CALL, "usb_1_1") == 1
    assert await calls.node_device_is_persistent(CALL, "usb_1_1") == 0
    assert "<name>usb_1_1</name>" in await calls.node_device_get_xml_desc(CALL, "usb_1_1", 0)
    with pytest.raises(VirError, match="no node device with matching name 'x'") as refused:
        await calls.node_device_get_xml_desc(CALL, "x", 0)
    assert refused.value.code is ErrorCode.NO_NODE_DEVICE
    assert refused.value.domain is ErrorDomain.NODEDEV


def test_a_device_that_goes_while_it_is_read_is_described_without_its_values(
    tree: Tree, found: dict[str, HostDevice]
) -> None:
    device = found["pci_0000_01_00_0"]
    assert device.path is not None
    for name in ("vendor", "device", "class", "config", "driver"):
        os.unlink(device.path / name)
    assert parts(device).find("capability/vendor[@id='0x0000']") is not None


def test_names_are_those_of_the_list_where_it_has_them(tmp_path: Path) -> None:
    names = tmp_path / "pci.ids"
    names.write_text("# list\n8086  Intel\n\t1237  440FX\n1af4  Red Hat\n\t1041  Network\n")
    assert pci_names(0x1AF4, 0x1041, (names,)) == ("Red Hat", "Network")
    assert pci_names(0x8086, 0x1041, (names,)) == ("Intel", "")
    assert pci_names(0x1234, 0x1041, (names,)) == ("", "")
    assert pci_names(0x8086, 1, (tmp_path / "none",)) == ("", "")


def test_the_kernel_tells_what_an_interface_does_in_hardware() -> None:
    assert "tx" in features("lo")
    assert features("none at all") == []


@pytest.mark.parametrize(
    ("xml", "code"),
    [
        ("", ErrorCode.XML_DETAIL),
        ("<disk/>", ErrorCode.XML_ERROR),
        ("<device><name>a</name></device>", ErrorCode.XML_ERROR),
        ("<device><capability type='mdev'/></device>", ErrorCode.CONFIG_UNSUPPORTED),
    ],
)
def test_no_device_is_made_and_the_refusal_says_why(xml: str, code: ErrorCode) -> None:
    calls = NodeDeviceCalls(list)
    for make in (calls.node_device_create_xml, calls.node_device_define_xml):
        with pytest.raises(VirError) as refused:
            make(CALL, xml, 0)
        assert refused.value.code is code
        with pytest.raises(VirError, match="unsupported flags"):
            make(CALL, xml, 4)


async def test_no_fibre_channel_adapter_is_found() -> None:
    with pytest.raises(VirError, match="no SCSI host with WWNN '1'") as refused:
        await NodeDeviceCalls(list).node_device_lookup_scsi_host_by_wwn(CALL, "1", "2", 0)
    assert refused.value.code is ErrorCode.NO_NODE_DEVICE
