"""From a rule on frames to ebtables' words.

Owns: which option says what. Pure.
Source: libvirt 9.0 formatnwfilter; what `ebtables -t nat -L` shows on hosts of libvirt 9.0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from conf.nwfilter.model import ANY_FRAME
from supervisor.netd.nwfilter.values import (
    ARP_OPERATIONS,
    ETHER_TYPES,
    IP_PROTOCOLS,
    bad,
    mac,
    number,
    span,
    subnet,
)

PROTOCOLS: Final = frozenset({ANY_FRAME, "mac", "vlan", "stp", "arp", "rarp", "ip", "ipv6"})
TARGETS: Final = {
    "accept": "ACCEPT",
    "drop": "DROP",
    "reject": "DROP",  # a bridge has nobody to tell
    "return": "RETURN",
    "continue": "CONTINUE",
}
STP_ADDRESS: Final = "01:80:c2:00:00:00"
# What a sub-chain's name begins with, and the frames that are sent through it.
CHAIN_FRAMES: Final[Mapping[str, tuple[str, ...]]] = {
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


class Words:
    """Options of one rule, in the making."""

    def __init__(self, values: Mapping[str, str], *, reverse: bool, negated: bool) -> None:
        """Begin with attributes that have no variables in them."""
        self.values = values
        self.reverse = reverse
        self.negated = negated
        self.words: list[str] = []

    def say(self, option: str, value: str | None = None) -> None:
        """Append an option, turned round where the rule is negated."""
        self.words.append(option)
        if self.negated:
            self.words.append("!")
        if value is not None:
            self.words.append(value)

    def sides(self, attribute: str, options: tuple[str, str]) -> list[tuple[str, str]]:
        """The source's and the destination's attribute and option; swapped in the other direction.

        `attribute` has "src" or "dst" for "*".
        """
        source, destination = reversed(options) if self.reverse else options
        return [
            (attribute.replace("*", "src"), source),
            (attribute.replace("*", "dst"), destination),
        ]


def ebtables_words(
    protocol: str, values: Mapping[str, str], *, reverse: bool, negated: bool
) -> list[str]:
    """The words of a rule without its target.

    Args:
        protocol: one of `PROTOCOLS`.
        values: its attributes, without variables.
        reverse: swap sources and destinations: the rule speaks of the other direction.
        negated: each option must not match.

    Raises:
        VirError: INTERNAL_ERROR: a value does not fit.
    """
    words = Words(values, reverse=reverse and protocol != "stp", negated=negated)
    _addresses(words)
    WRITERS[protocol](words)
    return words.words


def _addresses(words: Words) -> None:
    for attribute, option in words.sides("*macaddr", ("-s", "-d")):
        if attribute in words.values:
            mask = words.values.get(attribute.replace("addr", "mask"))
            address = mac(words.values[attribute])
            words.say(option, f"{address}/{mac(mask)}" if mask is not None else address)


def _any_frame(words: Words) -> None:
    """A rule without a protocol element: ebtables gets no -p, and so every frame matches."""


def _mac(words: Words) -> None:
    if "protocolid" in words.values:
        words.say("-p", hex(number(words.values["protocolid"], ETHER_TYPES)))


def _vlan(words: Words) -> None:
    words.words += ["-p", "0x8100"]
    if "vlanid" in words.values:
        words.say("--vlan-id", str(number(words.values["vlanid"])))
    if "encap-protocol" in words.values:
        encapsulated = number(words.values["encap-protocol"], ETHER_TYPES)
        words.say("--vlan-encap", f"{encapsulated:04x}")


def _stp(words: Words) -> None:
    words.words += ["-d", STP_ADDRESS]
    for attribute, option in (("type", "--stp-type"), ("flags", "--stp-flags")):
        if attribute in words.values:
            words.say(option, str(number(words.values[attribute])))
    for attribute, option in STP_RANGES:
        if attribute in words.values:
            high = words.values.get(f"{attribute}-hi")
            words.say(option, span(words.values[attribute], high))
    for side in ("root", "sender"):
        if f"{side}-address" in words.values:
            mask = words.values.get(f"{side}-address-mask")
            address = mac(words.values[f"{side}-address"])
            words.say(f"--stp-{side}-addr", f"{address}/{mac(mask)}" if mask else address)


def _arp(words: Words, ether_type: str = "0x806") -> None:
    values = words.values
    words.words += ["-p", ether_type]
    if "hwtype" in values:
        words.say("--arp-htype", str(number(values["hwtype"])))
    if "opcode" in values:
        words.say("--arp-opcode", str(number(values["opcode"], ARP_OPERATIONS)))
    if "protocoltype" in values:
        words.say("--arp-ptype", hex(number(values["protocoltype"], ETHER_TYPES)))
    for attribute, option in words.sides("arp*ipaddr", ("--arp-ip-src", "--arp-ip-dst")):
        if attribute in values:
            mask = values.get(attribute.replace("addr", "mask"))
            words.say(option, subnet(values[attribute], mask))
    for attribute, option in words.sides("arp*macaddr", ("--arp-mac-src", "--arp-mac-dst")):
        if attribute in values:
            words.say(option, mac(values[attribute]))
    if values.get("gratuitous") in ("true", "yes", "1"):
        words.words += [*(["!"] if words.negated else []), "--arp-gratuitous"]


def _rarp(words: Words) -> None:
    _arp(words, "0x8035")


def _ip(words: Words, version: str = "ip") -> None:
    values = words.values
    words.words += ["-p", "ipv4" if version == "ip" else "ipv6"]
    options = (f"--{version}-source", f"--{version}-destination")
    for attribute, option in words.sides("*ipaddr", options):
        if attribute in values:
            mask = values.get(attribute.replace("addr", "mask"))
            words.say(option, subnet(values[attribute], mask))
    if "protocol" in values:
        words.say(f"--{version}-protocol", str(number(values["protocol"], IP_PROTOCOLS)))
    options = (f"--{version}-source-port", f"--{version}-destination-port")
    for attribute, option in words.sides("*portstart", options):
        if attribute in values:
            last = values.get(attribute.replace("start", "end"))
            words.say(option, span(values[attribute], last))
    if version == "ip" and "dscp" in values:
        words.say("--ip-tos", hex(number(values["dscp"])))


def _ipv6(words: Words) -> None:
    _ip(words, "ip6")
    values = words.values
    if "type" not in values and "code" not in values:
        return
    kinds = span(values.get("type", "0"), values.get("typeend", values.get("type", "255")))
    codes = span(values.get("code", "0"), values.get("codeend", values.get("code", "255")))
    words.say("--ip6-icmp-type", f"{kinds}/{codes}")


WRITERS: Final[Mapping[str, Callable[[Words], None]]] = {
    ANY_FRAME: _any_frame,
    "mac": _mac,
    "vlan": _vlan,
    "stp": _stp,
    "arp": _arp,
    "rarp": _rarp,
    "ip": _ip,
    "ipv6": _ipv6,
}


def chain_frames(chain: str) -> tuple[str, ...]:
    """The words that select the frames for a sub-chain, by what its name begins with.

    Raises:
        VirError: INTERNAL_ERROR: no chain of filters is named so.
    """
    for prefix, words in CHAIN_FRAMES.items():
        if chain == prefix or chain.startswith(f"{prefix}-"):
            return words
    raise bad(chain, "a chain (root, or one whose name begins with a protocol)")
