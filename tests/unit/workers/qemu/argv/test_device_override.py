"""<qemu:override>: properties of devices on the command line, as stock libvirt 9.0 prints them."""

from __future__ import annotations

import pytest

from conf.domain import format_domain, parse_domain
from conf.domain.qemu_namespace import QemuOverride
from conf.errors import ConfError
from supervisor.workers.qemu.argv.device_override import overridden

XML = (
    "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>x</name>"
    "<os><type>hvm</type></os><qemu:override>{}</qemu:override></domain>"
)
DEVICE = "<qemu:device alias='balloon0'><qemu:frontend>{}</qemu:frontend></qemu:device>"
BALLOON = '{"driver":"virtio-balloon-pci","id":"balloon0","bus":"pci.0","addr":"0x2"}'


def override(devices: str) -> QemuOverride:
    parsed = parse_domain(XML.format(devices)).qemu_override
    assert parsed is not None
    return parsed


@pytest.mark.parametrize(
    ("properties", "written"),
    [
        ("", BALLOON),
        (
            "<qemu:property name='a' type='bool' value='true'/>"
            "<qemu:property name='b' type='signed' value='-5'/>"
            "<qemu:property name='c' type='unsigned' value='18446744073709551615'/>"
            "<qemu:property name='d' type='string' value='on'/>"
            "<qemu:property name='addr' type='remove'/>",
            '{"driver":"virtio-balloon-pci","id":"balloon0","bus":"pci.0","a":true,"b":-5,'
            '"c":18446744073709551615,"d":"on"}',
        ),
        (
            "<qemu:property name='driver' type='string' value='x'/>",
            '{"id":"balloon0","bus":"pci.0","addr":"0x2","driver":"x"}',
        ),
    ],
)
def test_properties_are_replaced_added_and_removed(properties: str, written: str) -> None:
    option = overridden(("-device", BALLOON), override(DEVICE.format(properties)))
    assert option == ("-device", written)


def test_other_devices_and_options_stay_as_they_are() -> None:
    changes = override(
        DEVICE.format("<qemu:property name='a' type='bool' value='true'/>")
        + "<qemu:device alias='nosuch'/>"
    )
    for option in (
        ("-device", '{"driver":"x","id":"balloon1"}'),
        ("-device", "driver,id=balloon0"),
        ("-object", BALLOON),
        ("-S",),
    ):
        assert overridden(option, changes) == option
    assert overridden(("-device", BALLOON), None) == ("-device", BALLOON)


PROPERTY = "<qemu:property {}/>"
REFUSED = {
    "type='bool' value='true'": "missing 'name' attribute for qemu:property",
    "name='id' type='string' value='x'": "property with name 'id' can't be overridden",
    "name='a' value='x'": "Missing required attribute 'type' in element 'property'",
    "name='a' type='foo' value='x'": "Invalid value for attribute 'type' in element 'property'",
    "name='a' type='string'": "missing 'value' attribute for 'qemu:property'",
    "name='a' type='remove' value='1'": "doesn't make sense with 'remove' type",
    "name='a' type='bool' value='yes'": "invalid value 'yes' of 'value' attribute",
    "name='a' type='unsigned' value='-3'": "invalid value '-3' of 'value' attribute",
    "name='a' type='signed' value='x'": "invalid value 'x' of 'value' attribute",
}


@pytest.mark.parametrize("attributes", REFUSED)
def test_a_property_that_stock_refuses_is_refused(attributes: str) -> None:
    with pytest.raises(ConfError) as refused:
        override(DEVICE.format(PROPERTY.format(attributes)))
    assert refused.value.kind == "xml"
    assert REFUSED[attributes] in str(refused.value)


def test_a_device_without_alias_is_refused_and_capabilities_need_a_name() -> None:
    with pytest.raises(ConfError, match="missing 'alias' attribute for qemu:device"):
        override("<qemu:device/>")
    nameless = "<qemu:capabilities><qemu:add/></qemu:capabilities>"
    with pytest.raises(ConfError, match="missing capability name") as refused:
        parse_domain(XML.format("").replace("<qemu:override>", f"{nameless}<qemu:override>"))
    assert refused.value.kind == "internal"


def test_an_override_is_written_as_it_was_read() -> None:
    inside = "<qemu:property name='a' type='bool' value='true'/>"
    domain = parse_domain(XML.format(DEVICE.format(inside)))
    assert inside in format_domain(domain)
