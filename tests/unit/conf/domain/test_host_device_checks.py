"""Host devices: what is refused of them, dropped, and added for them, as by libvirt 9.0."""

from __future__ import annotations

import pytest

from conf.domain import Domain, format_domain, parse_domain
from conf.domain.defaults import complete
from conf.emulator import EmulatorFacts
from conf.errors import ConfError

UNSUPPORTED = "config_unsupported"
IDS = "<source{}><vendor id='0x1234'/><product id='0xbeef'/></source>"
UNIT = "<source><adapter name='scsi_host0'/><address bus='0' target='0' unit='{}'/></source>"
MDEV = "<source><address uuid='53764d0e-85a0-42b4-af5c-2046b460b1dc'/></source>"
WWPN = "naa.5123456789abcde0"


def completed(facts: EmulatorFacts, devices: str) -> Domain:
    """A small guest with these devices."""
    xml = (
        "<domain type='qemu'><name>small</name><memory>65536</memory>"
        "<os><type arch='x86_64' machine='pc'>hvm</type></os>"
        f"<devices>{devices}</devices></domain>"
    )
    return complete(parse_domain(xml), facts)


def hostdev(attributes: str, inside: str) -> str:
    """A device of the host."""
    return f"<hostdev mode='subsystem' {attributes}>{inside}</hostdev>"


@pytest.mark.parametrize(
    ("element", "kind", "message"),
    [
        (hostdev("type='usb' model='x'", IDS.format("")), "xml", "'model' attribute"),
        (hostdev("type='usb' rawio='yes'", IDS.format("")), "xml", "rawio is only supported"),
        (hostdev("type='usb'", "<source><vendor id='1'/></source>"), "internal",
         "missing product"),
        (hostdev("type='usb'", "<source><vendor id='0'/><product id='1'/></source>"), "xml",
         "Zero is not permitted"),
        (hostdev("type='usb'", "<source><address bus='1'/></source>"), "xml", "'device'"),
        (hostdev("type='usb'", IDS.format(" guestReset='x'")), "xml", "'guestReset'"),
        (hostdev("type='usb'", IDS.format("") + "<address type='pci' slot='8'/>"), UNSUPPORTED,
         "must use 'usb' address type"),
        (hostdev("type='scsi' sgio='unfiltered'", UNIT.format(0)), UNSUPPORTED, "no longer"),
        (hostdev("type='scsi'", UNIT.format(0) + "<address type='drive' bus='1'/>"), "internal",
         "only supports 1 bus"),
        (hostdev("type='scsi'", "<source protocol='iscsi'><host name='h'/></source>"), "xml",
         "missing iSCSI hostdev source path name"),
        (hostdev("type='scsi'", "<source startupPolicy='optional'/>"), UNSUPPORTED,
         "only allowed for USB"),
        (hostdev("type='scsi_host'", "<source protocol='vhost'/>"), "xml", "source wwpn"),
        (hostdev("type='scsi_host'", "<source protocol='vhost' wwpn='naa.1'/>"), "xml",
         "malformed 'wwpn'"),
        (hostdev("type='scsi_host'", f"<source protocol='vhost' wwpn='{WWPN}'/><boot order='1'/>"),
         UNSUPPORTED, "booting from assigned devices is not supported by vhost SCSI"),
        (hostdev("type='mdev'", MDEV), "xml", "'model'"),
        (hostdev("type='mdev' model='vfio-ap'", MDEV), UNSUPPORTED, "VFIO AP"),
        (hostdev("type='mdev' model='vfio-pci'", MDEV + "<address type='usb'/>"), "xml",
         "Unsupported address type 'usb'"),
        (hostdev("type='pci'", "<source writeFiltering='no'><address bus='5'/></source>"),
         UNSUPPORTED, "Write filtering"),
    ],
)  # fmt: skip
def test_host_devices_are_refused_with_libvirts_code(
    emulator_facts: EmulatorFacts, element: str, kind: str, message: str
) -> None:
    with pytest.raises(ConfError, match=message) as refused:
        completed(emulator_facts, element)
    assert refused.value.kind == kind


def test_scsi_devices_beyond_a_narrow_bus_get_controllers_like_the_documents(
    emulator_facts: EmulatorFacts,
) -> None:
    controller = "<controller type='scsi' model='virtio-scsi' index='0'/>"
    units = "".join(hostdev("type='scsi'", UNIT.format(unit)) for unit in range(8))
    domain = completed(emulator_facts, controller + units)
    places = [
        format_domain(domain).count(f"<address type='drive' controller='{n}'") for n in (0, 1)
    ]
    models = [item.model for item in domain.devices.controllers if item.type == "scsi"]
    assert (places, models) == ([7, 1], ["virtio-scsi", "virtio-scsi"])


def test_only_scsi_devices_may_be_read_only_or_shared(emulator_facts: EmulatorFacts) -> None:
    flags = "<readonly/><shareable/>"
    usb, scsi = (
        hostdev("type='usb'", IDS.format("") + flags),
        hostdev("type='scsi'", UNIT.format(0)),
    )
    domain = completed(emulator_facts, usb + scsi.replace("</hostdev>", f"{flags}</hostdev>"))
    assert [item.shareable for item in domain.devices.hostdevs] == [False, True]
