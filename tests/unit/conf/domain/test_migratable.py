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


def test_a_pci_root_with_a_hole_stays_and_a_q35_keeps_its_usb_controller() -> None:
    hole = "<pcihole64 unit='KiB'>1048576</pcihole64>"
    root = f"<controller type='pci' index='0' model='pci-root'>{hole}</controller>"
    assert hole in migratable(root)
    board = "<controller type='pci' index='0' model='pcie-root'/>"
    usb = "<controller type='usb' index='0' model='piix3-uhci'/>"
    assert usb in migratable(board + usb)


def test_controllers_are_in_the_order_in_which_they_are_read_again() -> None:
    text = migratable("<controller type='usb' index='3'/><controller type='usb' index='0'/>")
    assert text.index("type='usb' index='0'") < text.index("type='usb' index='3'")


@pytest.mark.parametrize(
    ("kind", "listen", "kept"),
    [
        ("spice", "<listen type='none'/>", False),
        ("vnc", "<listen type='none'/>", True),
        ("vnc", "<listen type='socket' socket='/tmp/x'/>", False),
        ("vnc", "<listen type='socket'/>", True),
    ],
)
def test_a_listen_that_older_versions_do_not_know_is_left_out(
    kind: str, listen: str, kept: bool
) -> None:
    text = migratable(f"<graphics type='{kind}'>{listen}</graphics>")
    assert ("<listen" in text) == kept
    assert ("autoport='no'" in text) == (kind == "spice")


def test_a_label_that_the_document_gave_is_in_it() -> None:
    label = "<seclabel type='dynamic' model='dac' relabel='yes'/>"
    domain = parse_domain(
        "<domain type='qemu'><name>d</name><memory>1024</memory>"
        f"<os><type>hvm</type></os>{label}</domain>"
    )
    assert "model='dac'" in format_migratable(domain)


@pytest.mark.parametrize(
    ("model", "feature", "written"),
    [("Icelake-Server", "", "disable"), ("Icelake-Server", "require", "require"), ("EPYC", "", "")],
)
def test_a_model_that_once_had_a_feature_says_that_it_has_not(
    model: str, feature: str, written: str
) -> None:
    said = f"<feature policy='{feature}' name='pconfig'/>" if feature else ""
    domain = parse_domain(
        "<domain type='qemu'><name>d</name><memory>1</memory><os><type arch='x86_64'>hvm</type>"
        f"</os><cpu mode='custom' match='exact'><model>{model}</model>{said}</cpu></domain>"
    )
    wanted = f"<feature policy='{written}' name='pconfig'/>"
    assert (wanted if written else "<model>EPYC</model>") in format_migratable(domain)
    assert format_migratable(domain).count("pconfig") == bool(written)
