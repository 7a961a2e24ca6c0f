"""<virtualport> and <vlan> of interfaces: identifiers that are made up, and refusals."""

from __future__ import annotations

import pytest

from conf.domain import Domain, parse_domain
from conf.domain.defaults import complete
from conf.emulator import EmulatorFacts
from conf.errors import ConfError

UUID = "c7a5fdbd-edaf-9455-926a-d65c16db1809"
MADE_UP = "00000000-0000-4000-8000-000000000001"
SOURCES = {"bridge": "<source bridge='b'/>", "network": "<source network='n'/>", "user": ""}


def completed(facts: EmulatorFacts, inside: str, kind: str = "bridge") -> Domain:
    """A guest with one interface."""
    xml = (
        f"<domain type='qemu'><name>small</name><uuid>{UUID}</uuid><memory>65536</memory>"
        "<os><type arch='x86_64' machine='pc'>hvm</type></os><devices>"
        f"<interface type='{kind}'>{SOURCES[kind]}{inside}</interface></devices></domain>"
    )
    return complete(parse_domain(xml), facts, make_uuid=lambda: MADE_UP)


@pytest.mark.parametrize(
    ("attributes", "kind", "interfaceid", "instanceid"),
    [
        (" type='openvswitch'", "bridge", MADE_UP, None),
        ("", "network", MADE_UP, MADE_UP),
        (" type='802.1Qbg'", "network", None, MADE_UP),
        (" type='midonet'", "network", None, None),
    ],
)
def test_identifiers_that_a_switch_needs_are_made_up(
    emulator_facts: EmulatorFacts,
    attributes: str,
    kind: str,
    interfaceid: str | None,
    instanceid: str | None,
) -> None:
    domain = completed(emulator_facts, f"<virtualport{attributes}/>", kind)
    port = domain.devices.interfaces[0].virtualport
    assert port is not None
    assert (port.interfaceid, port.instanceid) == (interfaceid, instanceid)


def test_numbers_of_a_virtual_port_are_written_in_decimal(emulator_facts: EmulatorFacts) -> None:
    numbers = "managerid='0x0b' typeid='0x123457' typeidversion='0x02'"
    inside = f"<virtualport type='802.1Qbg'><parameters {numbers}/></virtualport>"
    port = completed(emulator_facts, inside).devices.interfaces[0].virtualport
    assert port is not None
    assert (port.managerid, port.typeid, port.typeidversion) == ("11", "1193047", "2")


@pytest.mark.parametrize(
    ("inside", "kind", "code", "message"),
    [
        ("<virtualport type='802.1Qbg'><parameters managerid='1' typeid='1' typeidversion='1' "
         "profileid='p'/></virtualport>", "bridge", "xml", "extra profileid"),
        (f"<virtualport type='802.1Qbh'><parameters profileid='p' interfaceid='{UUID}'/>"
         "</virtualport>", "bridge", "xml", "extra interfaceid"),
        ("<virtualport type='openvswitch'><parameters interfaceid='x'/></virtualport>", "user",
         "config_unsupported", "<virtualport> element unsupported"),
        ("<vlan trunk='no'><tag id='1'/><tag id='2'/></vlan>", "bridge", "xml", "trunk='yes'"),
        ("<vlan><tag id='4096'/></vlan>", "bridge", "xml", "maximum 4095"),
        ("<vlan><tag id='1' nativeMode='tagged'/><tag id='2' nativeMode='tagged'/></vlan>",
         "bridge", "xml", "duplicate native vlan"),
        ("<vlan trunk='no'><tag id='1' nativeMode='tagged'/></vlan>", "bridge", "xml",
         "not allowed with a native"),
    ],
)  # fmt: skip
def test_what_a_switch_cannot_be_told_is_refused(
    emulator_facts: EmulatorFacts, inside: str, kind: str, code: str, message: str
) -> None:
    with pytest.raises(ConfError, match=message) as refused:
        completed(emulator_facts, inside, kind)
    assert refused.value.kind == code
