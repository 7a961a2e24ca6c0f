"""A filter as the planners see it: rules and references in the document's order.

Owns: the boundary between filters' documents and their rules. Pure.
Source: libvirt 9.0 formatnwfilter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError

ROOT: Final = "root"
MAX_DEPTH: Final = 32  # filters that refer to filters


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """<rule>: what becomes of packets that match."""

    action: str  # "accept", "drop", "reject", "return" or "continue"
    direction: str  # "in" to the guest, "out" of it, or "inout"
    priority: int = 500
    statematch: bool = True  # follow connections where no state is named
    protocol: str = ""  # the element: "mac", "tcp-ipv6", …; "": none, the rule does nothing
    negated: bool = False  # match='no'
    values: Mapping[str, str]  # its attributes as written, variables in them


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """<filterref>: another filter, with variables for it and what it refers to."""

    filter: str
    variables: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """<filter>."""

    name: str
    chain: str = ROOT
    priority: int = 0  # of its chain among the others
    entries: tuple[Rule | Reference, ...] = ()


@dataclass(frozen=True, slots=True)
class Placed:
    """A rule, the chain it is in, and the variables that hold there."""

    rule: Rule
    chain: str
    chain_priority: int
    variables: Mapping[str, tuple[str, ...]]


def flatten(
    name: str,
    variables: Mapping[str, tuple[str, ...]],
    find: Callable[[str], Filter | None],
) -> list[Placed]:
    """All rules of a filter and of those it refers to, sorted as they are to be met.

    Args:
        name: the filter.
        variables: what the interface says; it counts before what references say.
        find: filters by name.

    Raises:
        VirError: INTERNAL_ERROR: a filter refers to one that there is not, or to itself.
    """
    return sorted(_walk(name, variables, find, ()), key=lambda placed: placed.rule.priority)


def references(name: str, find: Callable[[str], Filter | None]) -> set[str]:
    """The names of a filter and of all that it refers to, near or far; unknown ones as well."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        found = find(name)
        if found is not None:
            waiting += [one.filter for one in found.entries if isinstance(one, Reference)]
    return seen


def _walk(
    name: str,
    variables: Mapping[str, tuple[str, ...]],
    find: Callable[[str], Filter | None],
    above: tuple[str, ...],
) -> Iterator[Placed]:
    found = find(name)
    if found is None:
        raise _refused(f"referenced filter '{name}' is missing; define it first")
    if name in above or len(above) >= MAX_DEPTH:
        chain = " -> ".join((*above, name))
        raise _refused(f"filter '{name}' refers to itself: {chain}")
    for entry in found.entries:
        if isinstance(entry, Reference):
            nested = {**entry.variables, **variables}
            yield from _walk(entry.filter, nested, find, (*above, name))
        elif entry.protocol:
            yield Placed(entry, found.chain, found.priority, variables)


def _refused(detail: str) -> VirError:
    return VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NWFILTER)
