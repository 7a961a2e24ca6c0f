"""<interface> of the host: round trips and errors."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given, settings

from conf.errors import ConfError
from conf.interface import HostInterface, format_interface, parse_interface
from tests.unit.conf.network.network_strategies import interfaces

ETHERNET: Final = """<interface type='ethernet' name='eth0'>
  <start mode='onboot'/>
  <mtu size='1492'/>
  <protocol family='ipv4'>
    <dhcp peerdns='no'/>
    <ip address='192.0.2.5' prefix='24'/>
    <ip address='192.0.2.6'/>
    <route gateway='192.0.2.1'/>
  </protocol>
  <protocol family='ipv6'>
    <autoconf/>
    <ip address='2001:db8::5' prefix='64'/>
  </protocol>
  <link speed='1000' state='up'/>
  <mac address='AA:bb:cc:dd:ee:ff'/>
</interface>
"""
BRIDGE: Final = """<interface type='bridge' name='br0'>
  <bridge stp='off' delay='0.01'>
    <interface type='ethernet' name='eth1'/>
    <interface type='bond' name='bond0'>
      <bond mode='active-backup'>
        <miimon freq='100' downdelay='5' updelay='10' carrier='ioctl'/>
        <interface type='ethernet' name='eth2'/>
        <interface type='ethernet' name='eth3'>
          <mac address='52:54:00:00:00:03'/>
        </interface>
      </bond>
    </interface>
    <interface type='vlan' name='eth4.7'>
      <vlan tag='7'>
        <interface name='eth4'/>
      </vlan>
    </interface>
  </bridge>
</interface>
"""
BOND: Final = """<interface type='bond' name='bond0'>
  <start mode='none'/>
  <bond mode='802.3ad'>
    <arpmon interval='100' target='192.0.2.7' validate='active'/>
    <interface type='ethernet' name='eth0'/>
  </bond>
</interface>
"""


@pytest.mark.parametrize("document", [ETHERNET, BRIDGE, BOND], ids=["ethernet", "bridge", "bond"])
def test_elements_are_in_libvirts_order(document: str) -> None:
    assert format_interface(parse_interface(document), inactive=False) == document


def test_inactive_xml_has_no_link_state() -> None:
    document = format_interface(parse_interface(ETHERNET), inactive=True)
    assert document == ETHERNET.replace("  <link speed='1000' state='up'/>\n", "")


def test_first_of_two_bond_monitors_is_used() -> None:
    both = BOND.replace("<arpmon", "<miimon freq='5'/><arpmon")
    bond = parse_interface(both).bond
    assert bond is not None
    assert bond.miimon is not None
    assert bond.arpmon is None


def test_interface_lists_its_lower_links() -> None:
    interface = parse_interface(BRIDGE)
    assert list(interface.members()) == ["eth1", "bond0", "eth2", "eth3", "eth4.7"]
    assert interface.below() == ["eth1", "bond0", "eth2", "eth3", "eth4.7", "eth4"]
    assert interface.bridge is not None
    assert interface.bridge.delay_s == 0.01


def test_bridge_may_have_two_vlans_of_one_link() -> None:
    eight = "<interface type='vlan' name='eth4.8'><vlan tag='8'><interface name='eth4'/></vlan>"
    interface = parse_interface(BRIDGE.replace("  </bridge>", f"{eight}</interface></bridge>"))
    assert interface.below()[-1] == "eth4"
    assert list(interface.members())[-1] == "eth4.8"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("name='eth4'", "name='br0'", "'br0' cannot be made of itself"),
        ("name='eth3'", "name='eth1'", "'eth1' is listed more than once"),
        ("name='eth1'", "name='br0'", "'br0' is listed more than once"),
    ],
)
def test_link_can_be_in_one_master_only(old: str, new: str, says: str) -> None:
    with pytest.raises(ConfError, match=says):
        parse_interface(BRIDGE.replace(old, new))


REFUSED: Final = [
    ("<interface name='e'/>", "Missing required attribute 'type'"),
    ("<interface type='wifi' name='e'/>", "'wifi'"),
    ("<interface type='ethernet'/>", "interface has no name"),
    ("<interface type='ethernet' name=''/>", "cannot name an interface"),
    ("<interface type='ethernet' name='a/b'/>", "cannot name an interface"),
    ("<interface type='ethernet' name='..'/>", "cannot name an interface"),
    ("<interface type='ethernet' name='.eth0'/>", "cannot name an interface"),
    ("<interface type='ethernet' name='abcdefghijklmnop'/>", "cannot name an interface"),
    ("<interface type='bridge' name='e'/>", "bridge interface misses the bridge element"),
    ("<interface type='bond' name='e'/>", "bond interface misses the bond element"),
    ("<interface type='vlan' name='e'/>", "vlan interface misses the vlan element"),
    ("<interface type='ethernet' name='e'><bridge/></interface>", "has an element <bridge>"),
]
PARTS: Final = [
    ("<start mode='later'/>", "unknown interface startmode later"),
    ("<mtu size='-1'/>", "mtu size is '-1'"),
    ("<mtu size='99999999999'/>", "mtu size"),
    ("<mac address='zz'/>", "'zz' is no MAC address"),
    ("<link state='wrong'/>", "'wrong'"),
    ("<protocol/>", "protocol misses the family attribute"),
    ("<protocol family='ipx'/>", "unsupported protocol family 'ipx'"),
    ("<protocol family='ipv4'><autoconf/></protocol>", "<autoconf/> is of family 'ipv6' only"),
    ("<protocol family='ipv4'><dhcp peerdns='x'/></protocol>", "peerdns"),
    ("<protocol family='ipv4'><ip address='x'/></protocol>", "Invalid address 'x'"),
    ("<protocol family='ipv4'><ip/></protocol>", "address"),
    ("<protocol family='ipv4'><ip address='::1'/></protocol>", "no address of family 'ipv4'"),
    ("<protocol family='ipv4'><ip address='192.0.2.1' prefix='33'/></protocol>", "prefix 33"),
    ("<protocol family='ipv6'><route gateway='192.0.2.1'/></protocol>", "family 'ipv6'"),
]
BONDS: Final = [
    ("<bond mode='fast'/>", "unknown bonding mode fast"),
    ("<bond><miimon/></bond>", "miimon freq missing or invalid"),
    ("<bond><miimon freq='0'/></bond>", "miimon freq"),
    ("<bond><miimon freq='1' downdelay='x'/></bond>", "miimon downdelay"),
    ("<bond><miimon freq='1' carrier='x'/></bond>", "unknown mii bonding carrier x"),
    ("<bond><arpmon/></bond>", "arpmon interval missing or invalid"),
    ("<bond><arpmon interval='1'/></bond>", "arpmon target missing"),
    ("<bond><arpmon interval='1' target='x'/></bond>", "target"),
    ("<bond><arpmon interval='1' target='192.0.2.1' validate='x'/></bond>", "validate x"),
    ("<bond><interface type='vlan' name='e'/></bond>", "unsupported type 'vlan'"),
    ("<bond><interface type='ethernet'/></bond>", "interface has no name"),
]
VLANS: Final = [
    ("<vlan><interface name='eth0'/></vlan>", "misses the tag attribute"),
    ("<vlan tag='4095'><interface name='eth0'/></vlan>", "tag of <vlan> is '4095'"),
    ("<vlan tag='1'/>", "misses name attribute"),
    ("<vlan tag='1'><interface name='top'/></vlan>", "made of itself"),
]
BRIDGES: Final = [
    ("<bridge stp='maybe'/>", "'maybe'"),
    ("<bridge delay='31'/>", "bridge delay is '31'"),
    ("<bridge><interface type='bridge' name='b'/></bridge>", "unsupported type 'bridge'"),
    ("<bridge><interface type='vlan' name='b'/></bridge>", "misses the vlan element"),
]


def inside(kind: str, parts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Documents of one kind of interface, each with one of the parts."""
    head = f"<interface type='{kind}' name='top'>"
    return [(f"{head}{part}</interface>", says) for part, says in parts]


@pytest.mark.parametrize(
    ("document", "says"),
    [
        *REFUSED,
        *inside("ethernet", PARTS),
        *inside("bond", BONDS),
        *inside("vlan", VLANS),
        *inside("bridge", BRIDGES),
    ],
)
def test_invalid_interfaces_are_xml_errors(document: str, says: str) -> None:
    with pytest.raises(ConfError) as refused:
        parse_interface(document)
    assert refused.value.kind == "xml"
    assert says in refused.value.message


def test_malformed_xml_is_xml_detail() -> None:
    with pytest.raises(ConfError) as refused:
        parse_interface("<interface")
    assert refused.value.kind == "xml_detail"


@settings(max_examples=40)
@given(interfaces())
def test_formatting_round_trips(interface: HostInterface) -> None:
    document = format_interface(interface, inactive=False)
    assert parse_interface(document) == interface
