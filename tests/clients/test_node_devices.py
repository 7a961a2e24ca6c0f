"""Stock clients list the host's devices and read what each one is."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from tests.clients.libvirt_binding import libvirt

#: Kinds of devices that do not come and go with guests and networks on this machine.
FIXED = libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_SYSTEM
FIXED |= libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV
NET = libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_NET


def test_each_device_of_the_host_has_a_document_and_a_parent(link: Any) -> None:
    devices = link.listAllDevices(FIXED)
    names = {device.name() for device in devices}
    pci = {name for name in names if name != "computer"}
    assert set(link.listDevices("pci")) == pci
    assert link.numOfDevices("pci") == len(pci)
    for device in devices:
        document = ElementTree.fromstring(device.XMLDesc())
        assert document.findtext("name") == device.name()
        capability = document.find("capability")
        assert capability is not None
        assert device.listCaps() == [capability.get("type")]
        parent = device.parent()
        assert parent == document.findtext("parent")
        assert parent in names or (parent is None and device.name() == "computer")
        assert (device.isActive(), device.isPersistent()) == (1, 0)


def test_the_interfaces_of_the_host_are_listed_by_their_kind(link: Any) -> None:
    assert all(device.name().startswith("net_") for device in link.listAllDevices(NET))
    loopback = link.nodeDeviceLookupByName("net_lo_00_00_00_00_00_00")
    document = ElementTree.fromstring(loopback.XMLDesc())
    assert document.findtext("capability/interface") == "lo"
    assert document.find("capability/link").get("state") == "unknown"  # type: ignore[union-attr]


def test_a_device_that_is_not_there_is_named(link: Any) -> None:
    with pytest.raises(libvirt.libvirtError, match="no node device with matching name 'x'") as no:
        link.nodeDeviceLookupByName("x")
    assert no.value.get_error_code() == libvirt.VIR_ERR_NO_NODE_DEVICE
