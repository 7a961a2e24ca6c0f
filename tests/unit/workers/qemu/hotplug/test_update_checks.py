"""An update of a device does what it says, or is refused with libvirt's code."""

from __future__ import annotations

from typing import Final

import pytest

from conf.domain.device_xml import parse_device
from conf.domain.devices.disk import Disk
from conf.domain.devices.graphics import Graphics
from conf.domain.devices.graphics_defaults import complete_interface
from conf.domain.devices.interface import Interface
from conf.emulator import EmulatorFacts
from conf.errors import ConfError
from conf.settings import QemuConfig
from supervisor.workers.qemu.hotplug.update_checks import (
    check_disk_change,
    check_graphics_change,
    check_interface_change,
)

MAC: Final = "<mac address='52:54:00:b0:60:01'/>"
MODEL: Final = "<model type='virtio'/>"
UNSUPPORTED: Final = "operation_unsupported"


def interface(inside: str, *, kind: str = "user") -> Interface:
    device = parse_device(f"<interface type='{kind}'>{inside}</interface>")[1]
    assert isinstance(device, Interface)
    return device


def disk(inside: str, device: str = "cdrom") -> Disk:
    target = "<target dev='sda' bus='scsi'/>"
    disk = parse_device(f"<disk type='file' device='{device}'>{target}{inside}</disk>")[1]
    assert isinstance(disk, Disk)
    return disk


def vnc(attributes: str, inside: str = "<listen type='address' address='127.0.0.1'/>") -> Graphics:
    display = parse_device(f"<graphics type='vnc' {attributes}>{inside}</graphics>")[1]
    assert isinstance(display, Graphics)
    return display


@pytest.mark.parametrize(
    ("changed", "kind", "message"),
    [
        (f"{MAC}<model type='e1000'/>", UNSUPPORTED, "model from virtio to e1000"),
        (MAC, UNSUPPORTED, "model from virtio"),
        (MODEL, UNSUPPORTED, "mac address from"),
        (f"{MAC}{MODEL}<boot order='3'/>", UNSUPPORTED, "boot index"),
        (f"{MAC}{MODEL}<mtu size='1400'/>", UNSUPPORTED, "MTU"),
        (f"{MAC}{MODEL}<target dev='tap9'/>", UNSUPPORTED, "tap name"),
        (f"{MAC}{MODEL}<driver name='vhost'/>", UNSUPPORTED, "driver attributes"),
        (f"{MAC}{MODEL}<script path='/a'/>", UNSUPPORTED, "script"),
        (f"{MAC}{MODEL}<acpi index='7'/>", "operation_denied", "acpi index"),
        (f"{MAC}{MODEL}<bandwidth><inbound average='9'/></bandwidth>", UNSUPPORTED, "bandwidth"),
        (f"{MAC}{MODEL}<teaming type='persistent'/>", UNSUPPORTED, "teaming"),
    ],
)
def test_interface_field_that_cannot_change_is_refused(
    changed: str, kind: str, message: str, emulator_facts: EmulatorFacts
) -> None:
    device = interface(changed)
    complete_interface(device, emulator_facts)
    with pytest.raises(ConfError, match=message) as refused:
        check_interface_change(interface(MAC + MODEL), device)
    assert refused.value.kind == kind


def test_interface_of_another_type_is_refused() -> None:
    with pytest.raises(ConfError, match="'ethernet' network type"):
        check_interface_change(interface(MAC + MODEL), interface(MAC + MODEL, kind="ethernet"))


def test_link_state_and_the_tap_of_netd_can_change() -> None:
    check_interface_change(interface(MAC + MODEL), interface(MAC + MODEL + "<link state='down'/>"))
    check_interface_change(
        interface(f"{MAC}{MODEL}<source bridge='a'/>", kind="bridge"),
        interface(f"{MAC}{MODEL}<source bridge='b'/><filterref filter='a'/>", kind="bridge"),
    )


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ("<serial>y</serial>", "serial"),
        ("<driver name='qemu' type='raw' cache='writeback'/>", "cache"),
        ("<driver name='qemu' type='raw' cache='none' io='threads'/>", "io"),
        ("<iotune><total_iops_sec>10</total_iops_sec></iotune>", "iotune"),
        ("<wwn>5000c50015ea71ad</wwn>", "wwn"),
    ],
)
def test_disk_field_that_cannot_change_is_refused(changed: str, field: str) -> None:
    current = disk("<driver name='qemu' type='raw' cache='none'/><serial>x</serial>")
    with pytest.raises(ConfError, match=f"cannot modify field '{field}'"):
        check_disk_change(current, disk(changed))


def test_only_drives_change_their_medium() -> None:
    first, second = "<source file='/a'/>", "<source file='/b'/>"
    assert check_disk_change(disk(first), disk(second))
    assert not check_disk_change(disk(first, "disk"), disk(first, "disk"))
    with pytest.raises(ConfError, match="removable drives"):
        check_disk_change(disk(first, "disk"), disk(second, "disk"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (vnc("port='5999' autoport='no' keymap='de'"), "port settings"),
        (vnc("port='-1' keymap='fr'"), "keymap"),
        (vnc("port='-1'"), "keymap"),
        (vnc("port='-1' keymap='de'", "<listen type='address' address='0.0.0.0'/>"), "listen"),
        (vnc("port='-1' keymap='de' sharePolicy='ignore'"), "share policy"),
    ],
)
def test_display_field_that_cannot_change_is_refused(changed: Graphics, message: str) -> None:
    current = vnc("port='5900' autoport='yes' keymap='de'")
    with pytest.raises(ConfError, match=message):
        check_graphics_change(current, changed, QemuConfig())
    check_graphics_change(current, vnc("port='-1' passwd='a' keymap='de'"), QemuConfig())
