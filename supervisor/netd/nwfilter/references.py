"""Resolves a filter's references to one list of rules. Pure.

Owns: following references. Pure.
Source: libvirt 9.0 formatnwfilter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from conf.nwfilter.model import Filter, Reference, Rule
from rpc.errors import ErrorCode, ErrorDomain, VirError

MAX_DEPTH: Final = 32  # filters that refer to filters
PARTNERS: Final = {  # beside masks and the upper ends of STP's ranges
    "srcportend": "srcportstart",
    "dstportend": "dstportstart",
    "srcipto": "srcipfrom",
    "dstipto": "dstipfrom",
    "typeend": "type",
    "codeend": "code",
}


@dataclass(frozen=True, slots=True)
class ResolvedRule:
    """A rule with its filter's chain and variables."""

    rule: Rule
    chain: str
    chain_priority: int
    variables: Mapping[str, tuple[str, ...]]


def flatten(
    name: str,
    variables: Mapping[str, tuple[str, ...]],
    find: Callable[[str], Filter | None],
) -> list[ResolvedRule]:
    """List the rules of a filter and all filters it references, by priority.

    Args:
        name: the filter.
        variables: of the interface; they take precedence over those of references.
        find: filters by name.

    Raises:
        VirError: INTERNAL_ERROR: a filter refers to one that there is not, or to itself.
    """
    return sorted(_walk(name, variables, find, ()), key=lambda placed: placed.rule.priority)


def references(name: str, find: Callable[[str], Filter | None]) -> set[str]:
    """Return the names of a filter and of all filters it references, also missing ones."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        filter = find(name)
        if filter is not None:
            waiting += [entry.filter for entry in filter.entries if isinstance(entry, Reference)]
    return seen


def _walk(
    name: str,
    variables: Mapping[str, tuple[str, ...]],
    find: Callable[[str], Filter | None],
    above: tuple[str, ...],
) -> Iterator[ResolvedRule]:
    filter = find(name)
    if filter is None:
        raise _internal_error(f"referenced filter '{name}' is missing; define it first")
    if name in above or len(above) >= MAX_DEPTH:
        chain = " -> ".join((*above, name))
        raise _internal_error(f"filter '{name}' refers to itself: {chain}")
    for entry in filter.entries:
        if isinstance(entry, Reference):
            nested = {**entry.variables, **variables}
            yield from _walk(entry.filter, nested, find, (*above, name))
        else:
            _check_partners(entry, name)
            yield ResolvedRule(entry, filter.chain, filter.priority, variables)


def _check_partners(rule: Rule, name: str) -> None:
    """Refuse half of a condition: the rule would match more than it should.

    Raises:
        VirError: INTERNAL_ERROR.
    """
    for attribute in rule.values:
        partner = PARTNERS.get(attribute, "")
        if attribute.endswith("-hi"):
            partner = attribute.removesuffix("-hi")
        elif attribute == "code" and rule.protocol in ("icmp", "icmpv6"):
            partner = "type"
        elif attribute.endswith("mask"):
            partner = attribute.replace("mask", "addr").removesuffix("-addr")
        if partner and partner not in rule.values:
            where = f"a <{rule.protocol}> rule of filter '{name}'"
            raise _internal_error(f"{where} has {attribute} without {partner}")


def _internal_error(detail: str) -> VirError:
    return VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NWFILTER)
