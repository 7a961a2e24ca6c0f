"""Parses iptables-save, and plans the input of iptables-restore. Pure.

Owns: reading the one, writing the other. Pure.

A table is committed as a whole: between two states of it there is no third, so rules that are put
in again leave no gap.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise, takewhile
from typing import Final

from supervisor.netd.firewall.network_facts import NetworkFacts
from supervisor.netd.firewall.rules import CHAINS, Chain, Rule

# Words that iptables-save may add or leave out, without another meaning.
DEFAULTS: Final = (
    ("--reject-with", "icmp-port-unreachable"),
    ("--reject-with", "icmp6-port-unreachable"),
)
PLAIN: Final = re.compile(r"[^\s\"'\\]+")
FILTERS: Final = "libvirt-"  # how the chains of `supervisor.netd.nwfilter` begin
Marks = frozenset[tuple[str, str]]  # an option and its value
ParsedRule = frozenset[tuple[str, ...]]


@dataclass(slots=True)
class Table:
    """One table of iptables-save."""

    chains: set[str] = field(default_factory=set)
    rules: dict[str, list[list[str]]] = field(default_factory=dict)  # of each chain, in order

    def has(self, chain: str, words: Sequence[str]) -> bool:
        """Return whether a chain contains a rule."""
        wanted = parse_rule(words)
        return any(parse_rule(rule) == wanted for rule in self.rules.get(chain, ()))


def parse_save(text: str) -> dict[str, Table]:
    """Parse the output of iptables-save; comments and counters are ignored."""
    tables: dict[str, Table] = {}
    table = Table()
    for told in text.splitlines():
        if told.startswith("*"):
            table = tables.setdefault(told[1:].strip(), Table())
        elif told.startswith(":"):
            table.chains.add(told[1:].split()[0])
        elif told.startswith("-A "):
            words = _split(told)
            table.rules.setdefault(words[1], []).append(words[2:])
    return tables


def _split(told: str) -> list[str]:
    """Split a line into arguments; shlex is slow, so it is used only for quoted lines."""
    if '"' in told or "'" in told or "\\" in told:
        return shlex.split(told)
    return told.split()


def format_rule(words: Sequence[str]) -> str:
    """Quote arguments for iptables-restore, which knows double quotes only."""
    return " ".join(word if PLAIN.fullmatch(word) else _quoted(word) for word in words)


def _quoted(word: str) -> str:
    escaped = word.replace("\n", " ").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def parse_rule(words: Sequence[str]) -> ParsedRule:
    """Group a rule's options without regard to their order and to defaults."""
    groups: list[list[str]] = []
    for word in words:
        starts = word.startswith("-") or word == "!"
        if not groups or (starts and groups[-1] != ["!"]):
            groups.append([word])
        else:
            groups[-1].append(word)
    told = {tuple(group) for group in groups}
    return frozenset(
        _ordered(group) for group in told if group not in DEFAULTS and group[0] != "-m"
    )


def _ordered(group: tuple[str, ...]) -> tuple[str, ...]:
    if group[0] != "--ctstate":
        return group
    return (group[0], ",".join(sorted(group[1].split(","))))


@dataclass(frozen=True, slots=True)
class RestoreInput:
    """The changes of one table."""

    table: str
    lines: tuple[str, ...]
    optional: bool  # it adds only rules that a kernel may do without

    def text(self) -> str:
        """Format the input of iptables-restore."""
        return "".join(f"{told}\n" for told in (f"*{self.table}", *self.lines, "COMMIT"))


def plan_install(
    saved: dict[str, Table], rules: Sequence[Rule], facts: NetworkFacts
) -> list[RestoreInput]:
    """Plan the changes after which a network has exactly these rules, in order.

    Args:
        saved: what there is.
        rules: one family's, in the order of insertion; a table where they all stand is left alone.
        facts: the network; other rules of our chains that are its go.
    """
    changes = []
    for name in ("filter", "nat", "mangle"):
        table = saved.get(name, Table())
        wanted = [rule for rule in rules if rule.table == name]
        lines = _chains(table, wanted, name)
        if not _in_place(table, wanted, _marks(facts)):
            lines += _removal(table, wanted, _marks(facts))
            lines += [f"-I {rule.chain} {format_rule(rule.args)}" for rule in wanted]
        if lines:
            optional = bool(wanted) and all(rule.optional for rule in wanted)
            changes.append(RestoreInput(name, tuple(lines), optional))
    return changes


def plan_removal(
    saved: dict[str, Table], rules: Sequence[Rule], facts: NetworkFacts
) -> list[RestoreInput]:
    """Plan the changes after which a network has no rules in our chains.

    The chains and the jumps to them stay, as with libvirt 9.0.
    """
    changes = []
    for name, table in saved.items():
        lines = _removal(table, [rule for rule in rules if rule.table == name], _marks(facts))
        if lines:
            changes.append(RestoreInput(name, tuple(lines), optional=False))
    return changes


def _marks(facts: NetworkFacts) -> Marks:
    """Return the option pairs that only rules of this network have: its bridge and subnets."""
    bridge = {("-i", facts.bridge), ("-o", facts.bridge)}
    return frozenset(bridge | {("-s", str(subnet)) for subnet in facts.subnets})


def _chains(table: Table, rules: Sequence[Rule], name: str) -> list[str]:
    """Create missing chains and the jumps to them."""
    if not rules:
        return []
    ours = [chain for chain in CHAINS if chain.table == name]
    made = [f"-N {chain.name}" for chain in ours if chain.name not in table.chains]
    missing = {chain for chain in ours if not table.has(chain.hook, ("-j", chain.name))}
    jumps: list[str] = []
    for hook in dict.fromkeys(chain.hook for chain in missing):
        own = [chain for chain in ours if chain.hook == hook]
        jumps += _jumps(own, missing, table.rules.get(hook, []))
    return [*made, *jumps]


def _jumps(
    chains: Sequence[Chain], missing: set[Chain], rules: Sequence[Sequence[str]]
) -> list[str]:
    """Write all jumps of a hook again: one missing jump could only be inserted out of order.

    They come first, but for the jumps to guests' filters: a network lets its guests reach each
    other, and what a filter refuses must not get that far.
    """
    gone = [f"-D {chain.hook} -j {chain.name}" for chain in chains if chain not in missing]
    filters = takewhile(lambda words: words[-1].startswith(FILTERS), rules)
    place = len(list(filters)) + 1
    return [*gone, *(f"-I {chain.hook} {place} -j {chain.name}" for chain in chains)]


def _in_place(table: Table, rules: Sequence[Rule], marks: Marks) -> bool:
    """Return whether our chains contain exactly these rules of the network, in order."""
    for chain in dict.fromkeys(chain.name for chain in CHAINS):
        wanted = [parse_rule(rule.args) for rule in reversed(rules) if rule.chain == chain]
        there = [parse_rule(words) for words in _own(table, chain, set(wanted), marks)]
        if there != wanted:
            return False
    return True


def _removal(table: Table, rules: Sequence[Rule], marks: Marks) -> list[str]:
    """Delete these rules, and all rules in our chains with the network's marks."""
    lines = []
    for chain in dict.fromkeys(chain.name for chain in CHAINS):
        wanted = {parse_rule(rule.args) for rule in rules if rule.chain == chain}
        lines += [f"-D {chain} {format_rule(words)}" for words in _own(table, chain, wanted, marks)]
    return lines


def _own(table: Table, chain: str, known: set[ParsedRule], marks: Marks) -> list[list[str]]:
    """Return a chain's rules that belong to the network: known ones, and those with its marks."""
    return [
        words
        for words in table.rules.get(chain, ())
        if parse_rule(words) in known or _bears(words, marks)
    ]


def _bears(words: Sequence[str], marks: Marks) -> bool:
    return any(pair in marks for pair in pairwise(words))
