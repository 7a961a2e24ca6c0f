"""Models of <filter>, <rule> and <filterref>. Pure.

Owns: the models. Pure.
Source: libvirt 9.0 formatnwfilter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

ROOT: Final = "root"
ANY_FRAME: Final = ""  # the protocol of a rule without a protocol element: it matches every frame
DEFAULT_PRIORITY: Final = 500  # of a rule
PRIORITIES: Final = range(-1000, 1001)
# Default priorities of chains, by the prefix of their names.
CHAIN_PRIORITIES: Final[Mapping[str, int]] = {
    ROOT: 0,
    "stp": 0,  # libvirt's documentation says -810; 9.0 has no priority for it
    "mac": -800,
    "vlan": -750,
    "ipv4": -700,
    "ipv6": -600,
    "arp": -500,
    "rarp": -400,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """<rule>: the action for matching packets."""

    action: str  # "accept", "drop", "reject", "return" or "continue"
    direction: str  # "in" to the guest, "out" of it, or "inout"
    priority: int = DEFAULT_PRIORITY
    statematch: bool = True  # follow connections where no state is named
    protocol: str = ANY_FRAME  # the element's name: "mac", "tcp-ipv6", …
    negated: bool = False  # match='no'
    values: Mapping[str, str]  # its attributes as libvirt writes them, variables in them


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """<filterref>: another filter, with variables for it and the filters it references."""

    filter: str
    variables: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """<filter>."""

    name: str
    uuid: str = ""  # "": the XML has none
    chain: str = ROOT
    priority: int = 0  # of its chain among the others
    entries: tuple[Rule | Reference, ...] = ()


def chain_priority(chain: str) -> int | None:
    """Return a chain's default priority; None: invalid name."""
    for prefix, priority in CHAIN_PRIORITIES.items():
        if chain == prefix or (prefix != ROOT and chain.startswith(f"{prefix}-")):
            return priority
    return None
