"""Hypothesis strategies for networks and host interfaces."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from conf.interface import (
    ArpMonitor,
    Bond,
    BondMember,
    BridgeMember,
    DhcpClient,
    HostBridge,
    HostInterface,
    InterfaceIp,
    InterfaceType,
    LinkState,
    MiiMonitor,
    Protocol,
    VlanLink,
)

NUMBERS = st.integers(1, 100_000)
SWITCHES = st.none() | st.booleans()
DEVICES = st.from_regex(r"[a-z][a-z0-9._@-]{0,13}", fullmatch=True)
MACS = st.binary(min_size=5, max_size=5).map(lambda tail: "52:" + tail.hex(":"))
IPV4 = st.ip_addresses(v=4)
IPV6 = st.ip_addresses(v=6)
WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff")
    | st.sampled_from("&<>'\""),
    min_size=1,
    max_size=12,
).filter(lambda word: word.strip() == word)

LINKS = st.builds(LinkState, speed=NUMBERS, state=st.sampled_from(("up", "down")))
BOND_MEMBERS = st.builds(
    BondMember,
    type=st.just("ethernet"),
    name=DEVICES,
    link=st.none() | LINKS,
    mac=st.none() | MACS,
)
MII = st.builds(
    MiiMonitor,
    freq=NUMBERS,
    downdelay=st.none() | NUMBERS,
    updelay=st.none() | NUMBERS,
    carrier=st.sampled_from((None, "ioctl", "netif")),
)
ARP = st.builds(
    ArpMonitor,
    interval=NUMBERS,
    target=IPV4,
    validate=st.sampled_from((None, "active", "backup", "all")),
)


def bonds(members: SearchStrategy[list[BondMember]]) -> SearchStrategy[Bond]:
    """Bonds of such members, with one monitor at the most."""
    modes = st.sampled_from((None, "balance-rr", "802.3ad"))
    return st.one_of(
        st.builds(Bond, mode=modes, miimon=st.none() | MII, members=members),
        st.builds(Bond, mode=modes, arpmon=ARP, members=members),
    )


def distinct(members: SearchStrategy[BondMember]) -> SearchStrategy[list[BondMember]]:
    """Members of different names."""
    return st.lists(members, max_size=3, unique_by=lambda member: member.name)


def addressed(
    family: str, addresses: SearchStrategy[object], bits: int
) -> SearchStrategy[Protocol]:
    """A family of addresses."""
    ips = st.builds(InterfaceIp, address=addresses, prefix=st.none() | st.integers(0, bits))
    return st.builds(
        Protocol,
        family=st.just(family),
        autoconf=st.booleans() if family == "ipv6" else st.just(value=False),
        dhcp=st.none() | st.builds(DhcpClient, peerdns=SWITCHES),
        addresses=st.lists(ips, max_size=2),
        gateway=st.none() | addresses,
    )


@st.composite
def interfaces(draw: st.DrawFn) -> HostInterface:
    """Interfaces of every type; none is listed twice in them."""
    kind = draw(st.sampled_from(InterfaceType))
    made = HostInterface(
        type=kind,
        name="top0",
        start_mode=draw(st.sampled_from((None, "onboot", "hotplug", "none"))),
        mtu=draw(st.none() | NUMBERS),
        protocols=draw(
            st.lists(addressed("ipv4", IPV4, 32) | addressed("ipv6", IPV6, 128), max_size=2)
        ),
        link=draw(st.none() | LINKS),
        mac=draw(st.none() | MACS),
    )
    if kind is InterfaceType.BOND:
        made.bond = draw(bonds(distinct(BOND_MEMBERS)))
    elif kind is InterfaceType.VLAN:
        made.vlan = VlanLink(tag=draw(st.integers(1, 4094)), parent=draw(DEVICES))
    elif kind is InterfaceType.BRIDGE:
        made.bridge = draw(bridges())
    return made


@st.composite
def bridges(draw: st.DrawFn) -> HostBridge:
    """Bridges whose members are told apart by a number."""
    members = []
    for number in range(draw(st.integers(0, 3))):
        member = BridgeMember(type="ethernet", name=f"port{number}", mac=draw(st.none() | MACS))
        if draw(st.booleans()):
            member.type, member.vlan = "vlan", VlanLink(tag=number + 1, parent=f"wire{number}")
        elif draw(st.booleans()):
            inner = BondMember(type="ethernet", name=f"slave{number}")
            member.type, member.bond = "bond", draw(bonds(st.just([inner])))
        members.append(member)
    delay = draw(st.sampled_from((None, "0", "0.01", "15")))
    return HostBridge(stp=draw(SWITCHES), delay=delay, members=members)
