"""Translates ebtables and iptables options to nftables expressions. Pure.

Owns: the expression of each option in nftables' bridge family.
Source: libnftables-json(5); the layouts of ARP (RFC 826) and of a bridge's BPDU (IEEE 802.1D).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.netd.firewall.nft_plan import Json
from supervisor.netd.firewall.rules import Family

MAX_COMMENT: Final = 120  # characters; nftables' limit is 128 bytes with its own
FLAGS: Final = {"FIN": 1, "SYN": 2, "RST": 4, "PSH": 8, "ACK": 16, "URG": 32, "ALL": 63, "NONE": 0}
ALL_BITS: Final = "ff:ff:ff:ff:ff:ff"
# Places in the network header, in bits: offset and length.
ARP_PLACES: Final = {
    "--arp-htype": (0, 16),
    "--arp-ptype": (16, 16),
    "--arp-opcode": (48, 16),
    "--arp-mac-src": (64, 48),
    "--arp-ip-src": (112, 32),
    "--arp-mac-dst": (144, 48),
    "--arp-ip-dst": (192, 32),
}
STP_PLACES: Final = {
    "--stp-type": (48, 8),
    "--stp-flags": (56, 8),
    "--stp-root-prio": (64, 16),
    "--stp-root-addr": (80, 48),
    "--stp-root-cost": (128, 32),
    "--stp-sender-prio": (160, 16),
    "--stp-sender-addr": (176, 48),
    "--stp-port": (224, 16),
    "--stp-msg-age": (240, 16),
    "--stp-max-age": (256, 16),
    "--stp-hello-time": (272, 16),
    "--stp-forward-delay": (288, 16),
}
#: Places in an ARP header, and what IPv4 and Ethernet have there: the protocol and the length of
#: its address; the kind and the length of its address. Of others ebtables compares no address.
ARP_IPV4: Final = (((16, 16), 0x800), ((40, 8), 4))
ARP_ETHERNET: Final = (((0, 16), 1), ((32, 8), 6))
TOS: Final = (8, 8)
NAMED: Final[Mapping[str, tuple[str, str]]] = {
    "--vlan-id": ("vlan", "id"),
    "--ip-protocol": ("ip", "protocol"),
}
ADDRESSES: Final[Mapping[str, tuple[str, str]]] = {
    "--ip-source": ("ip", "saddr"),
    "--ip-destination": ("ip", "daddr"),
    "--ip6-source": ("ip6", "saddr"),
    "--ip6-destination": ("ip6", "daddr"),
}
PORTS: Final[Mapping[str, str]] = {
    "--ip-source-port": "sport",
    "--ip-destination-port": "dport",
    "--ip6-source-port": "sport",
    "--ip6-destination-port": "dport",
    "--sport": "sport",
    "--dport": "dport",
}
PROTOCOLS: Final = {"ipv4": 0x800, "ipv6": 0x86DD}
VERDICTS: Final = {"ACCEPT": "accept", "DROP": "drop", "RETURN": "return"}


def ether_expression(args: Sequence[str]) -> list[Json]:
    """Translate an ebtables rule.

    Raises:
        VirError: CONFIG_UNSUPPORTED: nftables has nothing for an option.
    """
    expressions: list[Json] = []
    at = 0
    while at < len(args):
        negated = args[at] == "!"
        if negated:
            at += 1
        option = args[at]
        at += 1
        if option == "-j":
            return [*expressions, {"counter": None}, *_verdict(args[at])]
        if at >= len(args):
            raise unsupported(option)
        expressions += _ether_option(option, args[at], negated=negated)
        at += 1
    return [*expressions, {"counter": None}]


def inet_expression(family: Family, args: Sequence[str], *, to_guest: bool) -> list[Json]:
    """Translate an iptables or ip6tables rule; RETURN is accept here.

    Raises:
        VirError: CONFIG_UNSUPPORTED: nftables has nothing for an option.
    """
    kind = 0x800 if family is Family.V4 else 0x86DD
    expressions: list[Json] = [_match(_payload("ether", "type"), kind)]
    remaining = iter(args)
    negated = False
    for arg in remaining:
        if arg == "!":
            negated = True
        elif arg == "-m":
            next(remaining)
        elif arg == "-j":
            return [
                *expressions,
                {"counter": None},
                *_inet_verdict(next(remaining), to_guest=to_guest),
            ]
        elif arg == "--tcp-flags":
            mask, flags = next(remaining), next(remaining)
            if family is Family.V4:
                expressions.append(_no_later_fragment())
            expressions.append(_flags(mask, flags, negated=negated))
            negated = False
        elif arg == "--comment":
            next(remaining)
        else:
            expressions += _inet_option(family, arg, next(remaining), negated=negated)
            negated = False
    return [*expressions, {"counter": None}]


def comment_of(args: Sequence[str]) -> str:
    """Return a rule's comment, cut to nftables' limit."""
    if "--comment" not in args:
        return ""
    return (
        args[args.index("--comment") + 1][:MAX_COMMENT]
        .encode()[:MAX_COMMENT]
        .decode(errors="ignore")
    )


def unsupported(option: str) -> VirError:
    """CONFIG_UNSUPPORTED: nftables has no match for an option."""
    detail = (
        f"nftables has nothing for '{option}' in a filter; set firewall_backend = \"iptables\" in "
        "network.conf, or change the filter"
    )
    return VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.NWFILTER)


def _ether_option(option: str, value: str, *, negated: bool) -> list[Json]:
    if option in ("-s", "-d"):
        side = "saddr" if option == "-s" else "daddr"
        return [_masked(_payload("ether", side), value, negated=negated)]
    if option == "-p":
        kind = PROTOCOLS.get(value) or int(value, 16)
        return [_match(_payload("ether", "type"), kind, negated=negated)]
    if option in ADDRESSES:
        return [_match(_payload(*ADDRESSES[option]), _subnet(value), negated=negated)]
    if option in PORTS:
        head = [_no_later_fragment()] if option.startswith("--ip-") else []
        return [*head, _match(_payload("th", PORTS[option]), _span(value), negated=negated)]
    if option == "--ip6-protocol":  # as ebtables, behind extension headers
        return [_match({"meta": {"key": "l4proto"}}, int(value), negated=negated)]
    if option in NAMED:
        return [_match(_payload(*NAMED[option]), int(value), negated=negated)]
    if option == "--vlan-encap":
        return [_match(_payload("vlan", "type"), int(value, 16), negated=negated)]
    if option == "--ip6-icmp-type":
        return _icmp6(value, negated=negated)
    return [*_arp_kind(option, negated=negated), _placed(option, value, negated=negated)]


def _arp_kind(option: str, *, negated: bool) -> list[Json]:
    expected: list[tuple[tuple[int, int], int]] = []
    if option.startswith("--arp-ip-"):
        # "Not this address" drops what is spoofed, whatever the length of Ethernet addresses.
        expected = [*ARP_IPV4] if negated else [*ARP_IPV4, ARP_ETHERNET[1]]
    elif option.startswith("--arp-mac-"):
        expected = [*ARP_ETHERNET]
    return [_match(_raw(*place), value) for place, value in expected]


def _no_later_fragment() -> Json:
    """Match what has its own transport header: the kernel reads that of later fragments, too."""
    return _match({"&": [_payload("ip", "frag-off"), 0x1FFF]}, 0)


def _placed(option: str, value: str, *, negated: bool) -> Json:
    """Match a header field by offset, as nftables knows its name for IP packets only."""
    if option == "--ip-tos":
        return _match(_raw(*TOS), int(value, 16), negated=negated)
    place = ARP_PLACES.get(option) or STP_PLACES.get(option)
    if place is None:
        raise unsupported(option)
    left = _raw(*place)
    if place[1] == 48:
        address, _, mask = value.partition("/")
        bits = _bits(mask or ALL_BITS)
        if mask and mask != ALL_BITS:
            left = {"&": [left, bits]}
        return _match(left, _bits(address) & bits, negated=negated)
    if option in ("--arp-ip-src", "--arp-ip-dst"):
        return _ip_placed(left, value, negated=negated)
    if ":" in value:
        return _match(left, _span(value), negated=negated)
    return _match(left, int(value, 0), negated=negated)


def _ip_placed(left: Json, value: str, *, negated: bool) -> Json:
    address, _, length = value.partition("/")
    bits = 0xFFFFFFFF << (32 - int(length or 32)) & 0xFFFFFFFF
    looked: Json = left if bits == 0xFFFFFFFF else {"&": [left, bits]}
    return _match(looked, int(IPv4Address(address)) & bits, negated=negated)


def _icmp6(value: str, *, negated: bool) -> list[Json]:
    kinds, _, codes = value.partition("/")
    return [
        _match(_payload("icmpv6", "type"), _span(kinds), negated=negated),
        _match(_payload("icmpv6", "code"), _span(codes), negated=negated),
    ]


def _inet_option(family: Family, option: str, value: str, *, negated: bool) -> list[Json]:
    protocol = "ip" if family is Family.V4 else "ip6"
    if option == "-p":
        return [] if value == "all" else [_match({"meta": {"key": "l4proto"}}, _l4(value))]
    if option in ("-s", "-d"):
        side = "saddr" if option == "-s" else "daddr"
        return [_match(_payload(protocol, side), _subnet(value), negated=negated)]
    if option in ("--src-range", "--dst-range"):
        side = "saddr" if option == "--src-range" else "daddr"
        first, _, last = value.partition("-")
        return [_match(_payload(protocol, side), {"range": [first, last]}, negated=negated)]
    if option == "--mac-source":
        return [_match(_payload("ether", "saddr"), value, negated=negated)]
    if option == "--dscp":
        return [_match(_payload(protocol, "dscp"), int(value), negated=negated)]
    head = [_no_later_fragment()] if family is Family.V4 else []
    if option in PORTS:
        return [*head, _match(_payload("th", PORTS[option]), _span(value), negated=negated)]
    if option in ("--icmp-type", "--icmpv6-type"):
        return [*head, *_icmp(option, value, negated=negated)]
    return _inet_rest(option, value, negated=negated)


def _icmp(option: str, value: str, *, negated: bool) -> list[Json]:
    protocol = "icmp" if option == "--icmp-type" else "icmpv6"
    kind, _, code = value.partition("/")
    expressions = [_match(_payload(protocol, "type"), int(kind), negated=negated)]
    if code:
        expressions.append(_match(_payload(protocol, "code"), int(code), negated=negated))
    return expressions


def _inet_rest(option: str, value: str, *, negated: bool) -> list[Json]:
    if option == "--ctstate":
        states: Json = [state.lower() for state in value.split(",")]
        return [{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": states}}]
    if option == "--ctdir":
        direction: Json = {"ct": {"key": "direction"}}
        return [_match(direction, value.lower())]
    if option == "--connlimit-above":
        return [{"ct count": {"val": int(value), "inv": True}}]
    raise unsupported(option)


def _flags(mask: str, flags: str, *, negated: bool) -> Json:
    looked = sum(FLAGS[flag] for flag in mask.split(","))
    expected = sum(FLAGS[flag] for flag in flags.split(","))
    return _match({"&": [_payload("tcp", "flags"), looked]}, expected, negated=negated)


def _verdict(target: str) -> list[Json]:
    if target == "CONTINUE":
        return []
    if target in VERDICTS:
        return [{VERDICTS[target]: None}]
    return [{"jump": {"target": target}}]


def _inet_verdict(target: str, *, to_guest: bool) -> list[Json]:
    """Translate the target; a bridge can send a reject on the input side only."""
    if target == "REJECT":
        return [{"drop": None}] if to_guest else [{"reject": None}]
    return [{"accept": None}] if target in ("ACCEPT", "RETURN") else _verdict(target)


def _payload(protocol: str, field: str) -> Json:
    return {"payload": {"protocol": protocol, "field": field}}


def _raw(offset: int, length: int) -> Json:
    return {"payload": {"base": "nh", "offset": offset, "len": length}}


def _match(left: Json, right: Json, *, negated: bool = False) -> Json:
    return {"match": {"op": "!=" if negated else "==", "left": left, "right": right}}


def _masked(left: Json, value: str, *, negated: bool) -> Json:
    address, _, mask = value.partition("/")
    if not mask or mask == ALL_BITS:
        return _match(left, address, negated=negated)
    cut = _bits(address) & _bits(mask)
    written = ":".join(f"{cut >> shift & 0xFF:02x}" for shift in range(40, -8, -8))
    return _match({"&": [left, mask]}, written, negated=negated)


def _bits(mac: str) -> int:
    return int(mac.replace(":", ""), 16)


def _subnet(value: str) -> Json:
    address, _, length = value.partition("/")
    return {"prefix": {"addr": address, "len": int(length)}} if length else address


def _span(value: str) -> Json:
    first, _, last = value.partition(":")
    return {"range": [int(first), int(last)]} if last and last != first else int(first)


def _l4(protocol: str) -> Json:
    return {"icmpv6": "ipv6-icmp"}.get(protocol, protocol)
