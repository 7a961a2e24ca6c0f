"""The migratable XML: what every guest has anyway is not in it."""

from __future__ import annotations

import pytest

from conf.domain import parse_domain
from conf.domain.migratable import format_migratable

ALIAS = "<alias name='x0'/>"


def migratable(devices: str, machine: str = "pc") -> str:
    return format_migratable(
        parse_domain(
            "<domain type='qemu' id='7'><name>d</name><memory>1024</memory>"
            f"<os><type arch='x86_64' machine='{machine}'>hvm</type></os>"
            f"<devices>{devices}</devices></domain>"
        )
    )


@pytest.mark.parametrize(
    ("device", "left_out"),
    [
        ("<controller type='usb' index='0' model='piix3-uhci'/>", True),
        ("<controller type='usb' index='0' model='qemu-xhci'/>", False),
        ("<controller type='usb' index='0' model='none'/>", False),
        ("<controller type='pci' index='0' model='pci-root'/>", True),
        ("<controller type='pci' index='0' model='pcie-root'/>", False),
        ("<input type='keyboard' bus='ps2'/>", True),
        ("<input type='keyboard' bus='usb'/>", False),
        ("<input type='mouse' bus='ps2'/>", False),
        ("<audio id='1' type='none'/>", True),
        ("<audio id='2' type='none'/>", False),
        ("<audio id='1' type='alsa'/>", False),
    ],
)
def test_a_device_of_every_guest_is_left_out(device: str, left_out: bool) -> None:
    assert (device not in migratable(device)) == left_out


def test_the_usb_controller_stays_where_there_are_several() -> None:
    both = (
        "<controller type='usb' index='0' model='piix3-uhci'/>"
        "<controller type='usb' index='1' model='ich9-ehci1'/>"
    )
    assert migratable(both).count("<controller type='usb'") == 2


def test_sound_to_the_display_is_what_every_guest_has() -> None:
    spice = "<graphics type='spice' autoport='yes' port='5900'/>"
    text = migratable(f"{spice}<audio id='1' type='spice'/>")
    assert "<audio" not in text
    assert "5900" not in text


def test_no_id_and_no_alias_is_in_it() -> None:
    text = migratable(f"<sound model='ich9'>{ALIAS}</sound>")
    assert ALIAS not in text
    assert "id='7'" not in text
