"""Devices that ask for a place which they cannot have, or share with others, as in libvirt 9.0."""

from __future__ import annotations

import pytest

from conf.domain import parse_domain
from conf.domain.addresses.assign import assign_addresses
from conf.domain.defaults import complete
from conf.domain.model import Domain
from conf.emulator import EmulatorFacts
from conf.errors import ConfError


def completed(devices: str, facts: EmulatorFacts) -> Domain:
    domain = parse_domain(
        "<domain type='qemu'><name>d</name><memory>65536</memory>"
        "<os><type arch='x86_64' machine='pc'>hvm</type></os>"
        f"<devices><memballoon model='none'/>{devices}</devices></domain>"
    )
    complete(domain, facts)
    assign_addresses(domain, facts)
    return domain


@pytest.mark.parametrize("kind", ["dir", "network"])
@pytest.mark.parametrize(("device", "target"), [("cdrom", "hdc"), ("floppy", "fda")])
def test_a_drive_without_a_medium_waits_for_a_file(
    kind: str, device: str, target: str, emulator_facts: EmulatorFacts
) -> None:
    xml = f"<disk type='{kind}' device='{device}'><target dev='{target}'/></disk>"
    (disk,) = completed(xml, emulator_facts).devices.disks
    assert disk.type == "file"


def test_a_channel_with_a_mainframes_address_is_given_a_port(emulator_facts: EmulatorFacts) -> None:
    target, address = "<target type='virtio' name='a.b'/>", "<address type='ccw' bus='0'/>"
    xml = f"<channel type='pty'>{target}{address}</channel>"
    (channel,) = completed(xml, emulator_facts).devices.channels
    assert channel.address is not None
    assert channel.address.type == "virtio-serial"


@pytest.mark.parametrize(
    ("device", "message"),
    [
        (
            "<console type='pty'><target type='virtio'/><address type='ccw'/></console>",
            "cannot use CCW address type",
        ),
        (
            "<disk type='file'><source file='/a'/><target dev='hda' bus='ide'/>"
            "<address type='ccw'/></disk>",
            "Invalid address type 'ccw' for the disk 'hda' with the bus type 'ide'",
        ),
    ],
)
def test_other_devices_with_such_an_address_are_refused(
    device: str, message: str, emulator_facts: EmulatorFacts
) -> None:
    with pytest.raises(ConfError, match=message):
        completed(device, emulator_facts)


def usb(*models: str) -> str:
    return "".join(f"<controller type='usb' index='0' model='{each}'/>" for each in models)


@pytest.mark.parametrize("models", [("ich9-uhci2", "piix3-uhci"), ("qemu-xhci", "ich9-uhci1")])
def test_companions_have_the_index_of_any_usb_controller(
    models: tuple[str, ...], emulator_facts: EmulatorFacts
) -> None:
    controllers = completed(usb(*models), emulator_facts).devices.controllers
    assert {each.model for each in controllers if each.type == "usb"} == set(models)


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        (usb("qemu-xhci", "qemu-xhci"), "Duplicate USB controllers with index 0"),
        (usb("ich9-ehci1", "qemu-xhci"), "Duplicate USB controllers with index 0"),
        (usb("piix3-uhci", "piix3-uhci"), "Attempted double use of PCI Address 0000:00:01.2"),
        (
            "<controller type='pci' model='pci-root'/>" * 2,
            "pci-root and pcie-root controllers should have index 0",
        ),
        (
            "<controller type='pci' index='0' model='pci-root'/>" * 2,
            "Multiple 'pci' controllers with index '0'",
        ),
    ],
)
def test_controllers_that_cannot_both_be_are_refused(
    devices: str, message: str, emulator_facts: EmulatorFacts
) -> None:
    with pytest.raises(ConfError, match=message):
        completed(devices, emulator_facts)
