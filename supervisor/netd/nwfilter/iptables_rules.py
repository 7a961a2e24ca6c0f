"""Translates filter rules on IP packets to iptables options for a tap's three chains. Pure.

Owns: the chains of each rule, and the option of each attribute.
Source: libvirt 9.0 formatnwfilter; `iptables -S` on hosts of libvirt 9.0.

FI gets packets from the guest to others, HI packets from the guest to the host, FO packets to the
guest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from conf.nwfilter import attribute_types
from conf.nwfilter.model import Rule
from supervisor.netd.firewall.rules import Family
from supervisor.netd.nwfilter.values import invalid_value, ip, mac, number, span, subnet

PORTED: Final = frozenset({"tcp", "udp", "sctp"})
PLAIN: Final = frozenset({"all", "tcp", "udp", "sctp", "udplite", "esp", "ah"})
PROTOCOLS: Final[Mapping[str, tuple[Family, str]]] = {
    **{name: (Family.V4, name) for name in PLAIN},
    **{f"{name}-ipv6": (Family.V6, name) for name in PLAIN},
    "icmp": (Family.V4, "icmp"),
    "igmp": (Family.V4, "igmp"),
    "icmpv6": (Family.V6, "icmpv6"),
}
# Who opened the connection: a guest's packet that answers one to it is in direction REPLY. Without
# the direction, a guest could go on with a connection that it must not open.
BOTH_WAYS: Final = {
    False: ("NEW,ESTABLISHED", "ORIGINAL"),
    True: ("ESTABLISHED", "REPLY"),
}
STATE: Final = re.compile(r"(NEW|ESTABLISHED|RELATED|INVALID)(,(NEW|ESTABLISHED|RELATED|INVALID))*")
SET_NAME: Final = re.compile(r"[A-Za-z0-9_.:+\-]{1,31}")
SET_FLAGS: Final = re.compile(r"(src|dst)(,(src|dst)){0,5}")
MAX_COMMENT: Final = 255  # bytes, of xt_comment
SWAPPED: Final = {"src": "dst", "dst": "src"}


@dataclass(frozen=True, slots=True)
class InetRule:
    """An iptables or ip6tables rule."""

    family: Family
    chain: str  # "FI", "FO" or "HI"
    args: tuple[str, ...]


def iptables_rules(rule: Rule, values: Mapping[str, str]) -> Iterator[InetRule]:
    """Translate one rule.

    Args:
        rule: one of a protocol in `PROTOCOLS`.
        values: its attributes, without variables.

    Raises:
        VirError: INTERNAL_ERROR: a value does not fit.
    """
    family, _ = PROTOCOLS[rule.protocol]
    inwards = rule.direction in ("in", "inout")
    for chain in ("FI", "FO", "HI"):
        reverse = inwards if chain != "FO" else not inwards
        if not _concerns(rule, values, chain, reverse=reverse):
            continue
        args = _args(rule, values, reverse=reverse)
        if args is not None:
            yield InetRule(family, chain, (*args, *_target(rule.action, chain)))


def _concerns(rule: Rule, values: Mapping[str, str], chain: str, *, reverse: bool) -> bool:
    """Return whether a chain gets the rule."""
    one_way = values.get("state") or "type" in values
    if one_way and rule.direction != "inout":
        return (chain == "FO") == (rule.direction == "in")
    return "connlimit-above" not in values or not reverse


def _args(rule: Rule, values: Mapping[str, str], *, reverse: bool) -> list[str] | None:
    """Build the options before the target; None where nothing is left to match."""
    _, protocol = PROTOCOLS[rule.protocol]
    negation = ["!"] if rule.negated else []
    head = ["-p", protocol]
    options = [
        *_hardware(values, reverse=reverse),
        *_addresses(values, reverse=reverse),
        *_ports(protocol, values, reverse=reverse),
    ]
    match_args = [arg for option in options for arg in (*option[0], *negation, *option[1])]
    if not match_args and "srcmacaddr" in values and reverse:
        return None
    return [
        *head,
        *match_args,
        *_state(rule, values, reverse=reverse),
        *_extras(values, reverse=reverse),
    ]


Option = tuple[tuple[str, ...], tuple[str, ...]]  # `-m MODULE`, and its options


def _hardware(values: Mapping[str, str], *, reverse: bool) -> Iterator[Option]:
    """Match the source MAC address, which only packets in the rule's own direction have."""
    if "srcmacaddr" in values and not reverse:
        yield ("-m", "mac"), ("--mac-source", mac(values["srcmacaddr"]))


def _addresses(values: Mapping[str, str], *, reverse: bool) -> Iterator[Option]:
    for side in ("src", "dst"):
        seen = SWAPPED[side] if reverse else side
        if f"{side}ipaddr" in values:
            address = subnet(values[f"{side}ipaddr"], values.get(f"{side}ipmask"))
            yield (), ({"src": "-s", "dst": "-d"}[seen], address)
        if f"{side}ipfrom" in values:
            first = ip(values[f"{side}ipfrom"])
            last = ip(values.get(f"{side}ipto", str(first)))
            yield ("-m", "iprange"), (f"--{seen}-range", f"{first}-{last}")
    if "dscp" in values:
        yield ("-m", "dscp"), ("--dscp", str(number(values["dscp"])))


def _ports(protocol: str, values: Mapping[str, str], *, reverse: bool) -> Iterator[Option]:
    if protocol == "tcp" and values.get("flags"):
        yield (), ("--tcp-flags", *_flags(values["flags"]))
    for side in ("src", "dst"):
        seen = SWAPPED[side] if reverse else side
        if protocol in PORTED and f"{side}portstart" in values:
            ports = span(values[f"{side}portstart"], values.get(f"{side}portend"))
            yield (), (f"--{seen[0]}port", ports)
    if protocol == "tcp" and "option" in values:
        yield (), ("--tcp-option", str(number(values["option"])))
    if protocol in ("icmp", "icmpv6") and "type" in values:
        kind = str(number(values["type"]))
        code = f"/{number(values['code'])}" if "code" in values else ""
        yield (), ("--icmp-type" if protocol == "icmp" else "--icmpv6-type", kind + code)


def _flags(text: str) -> tuple[str, str]:
    try:
        mask, _, flags = attribute_types.tcp_flags(text).partition("/")
    except ValueError:
        raise invalid_value(text, "TCP flags") from None
    return mask, flags


def _state(rule: Rule, values: Mapping[str, str], *, reverse: bool) -> list[str]:
    """Match connection states: replies to accepted packets are accepted."""
    state = values.get("state")
    if state:
        if state == "NONE":
            return []
        if STATE.fullmatch(state) is None:
            raise invalid_value(state, "a connection's state")
        return ["-m", "conntrack", "--ctstate", state]
    if not rule.statematch or rule.action != "accept" or rule.direction == "inout":
        return []
    states, direction = BOTH_WAYS[reverse]
    args = ["-m", "conntrack", "--ctstate", states]
    if "type" in values:
        return args  # an ICMP message of a type is in one direction's chains only
    return [*args, "-m", "conntrack", "--ctdir", direction]


def _extras(values: Mapping[str, str], *, reverse: bool) -> Iterator[str]:
    if "connlimit-above" in values:
        limit = str(number(values["connlimit-above"]))
        yield from ("-m", "connlimit", "--connlimit-above", limit)
    if "ipset" in values:
        yield from ("-m", "set", "--match-set", *_set(values, reverse=reverse))
    comment = values.get("comment", "")
    if comment:
        printable = "".join(letter if letter.isprintable() else " " for letter in comment)
        cut = printable.encode()[:MAX_COMMENT].decode(errors="ignore")
        yield from ("-m", "comment", "--comment", cut)


def _set(values: Mapping[str, str], *, reverse: bool) -> tuple[str, str]:
    name, flags = values["ipset"], values.get("ipsetflags", "").lower()
    if SET_NAME.fullmatch(name) is None:
        raise invalid_value(name, "the name of an ipset")
    if SET_FLAGS.fullmatch(flags) is None:
        raise invalid_value(flags, "flags of an ipset (src, dst)")
    sides = flags.split(",")
    return name, ",".join(SWAPPED[side] for side in sides) if reverse else flags


def _target(action: str, chain: str) -> tuple[str, ...]:
    """Return the target; RETURN accepts, so that other taps' chains are still evaluated."""
    if action == "continue":
        return ()  # the rule only counts
    if action == "accept":
        return ("-j", "ACCEPT" if chain == "FO" else "RETURN")
    return ("-j", action.upper())
