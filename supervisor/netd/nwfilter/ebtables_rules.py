"""Translates filter rules on Ethernet frames to ebtables options. Pure.

Owns: the option of each attribute.
Source: libvirt 9.0 formatnwfilter; `ebtables -t nat -L` on hosts of libvirt 9.0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from conf.nwfilter.model import ANY_FRAME
from supervisor.netd.nwfilter.values import (
    ARP_OPERATIONS,
    ETHER_TYPES,
    IP_PROTOCOLS,
    invalid_value,
    mac,
    number,
    span,
    subnet,
)

PROTOCOLS: Final = frozenset({ANY_FRAME, "mac", "vlan", "stp", "arp", "rarp", "ip", "ipv6"})
TARGETS: Final = {
    "accept": "ACCEPT",
    "drop": "DROP",
    "reject": "DROP",  # ebtables cannot send an error to the sender
    "return": "RETURN",
    "continue": "CONTINUE",
}
STP_ADDRESS: Final = "01:80:c2:00:00:00"
# Prefixes of chain names, and the match of the jump to such a chain.
CHAIN_MATCHES: Final[Mapping[str, tuple[str, ...]]] = {
    "mac": (),
    "stp": ("-d", STP_ADDRESS),
    "vlan": ("-p", "0x8100"),
    "ipv4": ("-p", "0x800"),
    "ipv6": ("-p", "0x86dd"),
    "arp": ("-p", "0x806"),
    "rarp": ("-p", "0x8035"),
}
# Ranges of STP: the attribute, and the option; the upper end is the attribute with "-hi".
STP_RANGES: Final = (
    ("root-priority", "--stp-root-prio"),
    ("root-cost", "--stp-root-cost"),
    ("sender-priority", "--stp-sender-prio"),
    ("port", "--stp-port"),
    ("age", "--stp-msg-age"),
    ("max-age", "--stp-max-age"),
    ("hello-time", "--stp-hello-time"),
    ("forward-delay", "--stp-forward-delay"),
)


class RuleBuilder:
    """Builds the options of one rule."""

    def __init__(self, values: Mapping[str, str], *, reverse: bool, negated: bool) -> None:
        self.values = values
        self.reverse = reverse
        self.negated = negated
        self.args: list[str] = []

    def add(self, option: str, value: str | None = None) -> None:
        """Append an option, with "!" for match='no'.

        The negation is before the option, which every ebtables takes; after it, which ebtables
        1.8.9 prints, it is deprecated since 1.8.11.
        """
        if self.negated:
            self.args.append("!")
        self.args.append(option)
        if value is not None:
            self.args.append(value)

    def sides(self, attribute: str, options: tuple[str, str]) -> list[tuple[str, str]]:
        """Return attribute and option for source and destination, swapped when reversed.

        `attribute` has "src" or "dst" for "*".
        """
        source, destination = reversed(options) if self.reverse else options
        return [
            (attribute.replace("*", "src"), source),
            (attribute.replace("*", "dst"), destination),
        ]


def ebtables_args(
    protocol: str, values: Mapping[str, str], *, reverse: bool, negated: bool
) -> list[str]:
    """Build the options of a rule, without its target.

    Args:
        protocol: one of `PROTOCOLS`.
        values: its attributes, without variables.
        reverse: swap sources and destinations: the rule is for the other direction.
        negated: each option must not match.

    Raises:
        VirError: INTERNAL_ERROR: a value does not fit.
    """
    builder = RuleBuilder(values, reverse=reverse and protocol != "stp", negated=negated)
    _addresses(builder)
    WRITERS[protocol](builder)
    return builder.args


def _addresses(builder: RuleBuilder) -> None:
    for attribute, option in builder.sides("*macaddr", ("-s", "-d")):
        if attribute in builder.values:
            mask = builder.values.get(attribute.replace("addr", "mask"))
            address = mac(builder.values[attribute])
            builder.add(option, f"{address}/{mac(mask)}" if mask is not None else address)


def _any_frame(builder: RuleBuilder) -> None:
    """Add nothing: without -p a rule matches every frame."""


def _mac(builder: RuleBuilder) -> None:
    if "protocolid" in builder.values:
        builder.add("-p", hex(number(builder.values["protocolid"], ETHER_TYPES)))


def _vlan(builder: RuleBuilder) -> None:
    builder.args += ["-p", "0x8100"]
    if "vlanid" in builder.values:
        builder.add("--vlan-id", str(number(builder.values["vlanid"])))
    if "encap-protocol" in builder.values:
        encapsulated = number(builder.values["encap-protocol"], ETHER_TYPES)
        builder.add("--vlan-encap", f"{encapsulated:04x}")


def _stp(builder: RuleBuilder) -> None:
    builder.args += ["-d", STP_ADDRESS]
    for attribute, option in (("type", "--stp-type"), ("flags", "--stp-flags")):
        if attribute in builder.values:
            builder.add(option, str(number(builder.values[attribute])))
    for attribute, option in STP_RANGES:
        if attribute in builder.values:
            high = builder.values.get(f"{attribute}-hi")
            builder.add(option, span(builder.values[attribute], high))
    for side in ("root", "sender"):
        if f"{side}-address" in builder.values:
            mask = builder.values.get(f"{side}-address-mask")
            address = mac(builder.values[f"{side}-address"])
            builder.add(f"--stp-{side}-addr", f"{address}/{mac(mask)}" if mask else address)


def _arp(builder: RuleBuilder, ether_type: str = "0x806") -> None:
    values = builder.values
    builder.args += ["-p", ether_type]
    if "hwtype" in values:
        builder.add("--arp-htype", str(number(values["hwtype"])))
    if "opcode" in values:
        builder.add("--arp-opcode", str(number(values["opcode"], ARP_OPERATIONS)))
    if "protocoltype" in values:
        builder.add("--arp-ptype", hex(number(values["protocoltype"], ETHER_TYPES)))
    for attribute, option in builder.sides("arp*ipaddr", ("--arp-ip-src", "--arp-ip-dst")):
        if attribute in values:
            mask = values.get(attribute.replace("addr", "mask"))
            builder.add(option, subnet(values[attribute], mask))
    for attribute, option in builder.sides("arp*macaddr", ("--arp-mac-src", "--arp-mac-dst")):
        if attribute in values:
            builder.add(option, mac(values[attribute]))
    if values.get("gratuitous") in ("true", "yes", "1"):
        builder.args += [*(["!"] if builder.negated else []), "--arp-gratuitous"]


def _rarp(builder: RuleBuilder) -> None:
    _arp(builder, "0x8035")


def _ip(builder: RuleBuilder, version: str = "ip") -> None:
    values = builder.values
    builder.args += ["-p", "ipv4" if version == "ip" else "ipv6"]
    options = (f"--{version}-source", f"--{version}-destination")
    for attribute, option in builder.sides("*ipaddr", options):
        if attribute in values:
            mask = values.get(attribute.replace("addr", "mask"))
            builder.add(option, subnet(values[attribute], mask))
    if "protocol" in values:
        builder.add(f"--{version}-protocol", str(number(values["protocol"], IP_PROTOCOLS)))
    options = (f"--{version}-source-port", f"--{version}-destination-port")
    for attribute, option in builder.sides("*portstart", options):
        if attribute in values:
            last = values.get(attribute.replace("start", "end"))
            builder.add(option, span(values[attribute], last))
    if version == "ip" and "dscp" in values:
        builder.add("--ip-tos", hex(number(values["dscp"])))


def _ipv6(builder: RuleBuilder) -> None:
    _ip(builder, "ip6")
    values = builder.values
    if "type" not in values and "code" not in values:
        return
    kinds = span(values.get("type", "0"), values.get("typeend", values.get("type", "255")))
    codes = span(values.get("code", "0"), values.get("codeend", values.get("code", "255")))
    builder.add("--ip6-icmp-type", f"{kinds}/{codes}")


WRITERS: Final[Mapping[str, Callable[[RuleBuilder], None]]] = {
    ANY_FRAME: _any_frame,
    "mac": _mac,
    "vlan": _vlan,
    "stp": _stp,
    "arp": _arp,
    "rarp": _rarp,
    "ip": _ip,
    "ipv6": _ipv6,
}


def chain_match(chain: str) -> tuple[str, ...]:
    """Return the options that send frames to a chain, by the protocol its name begins with.

    Raises:
        VirError: INTERNAL_ERROR: no chain of filters is named so.
    """
    for prefix, args in CHAIN_MATCHES.items():
        if chain == prefix or chain.startswith(f"{prefix}-"):
            return args
    raise invalid_value(chain, "a chain name (root, or one that begins with a protocol)")
