"""What iptables-save prints, and what iptables-restore must be told to get from there to a plan.

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
    """One table as saved."""

    chains: set[str] = field(default_factory=set)
    rules: dict[str, list[list[str]]] = field(default_factory=dict)  # of each chain, in order

    def has(self, chain: str, words: Sequence[str]) -> bool:
        """Whether a chain holds a rule."""
        wanted = parse_rule(words)
        return any(parse_rule(rule) == wanted for rule in self.rules.get(chain, ()))


def parse_save(text: str) -> dict[str, Table]:
    """Read what iptables-save printed; lines of other kinds are passed over."""
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
    """A line's words; most have no quotation, and taking those apart is slow."""
    if '"' in told or "'" in told or "\\" in told:
        return shlex.split(told)
    return told.split()


def format_rule(words: Sequence[str]) -> str:
    """Words as iptables-restore reads them: it knows double quotes alone."""
    return " ".join(word if PLAIN.fullmatch(word) else _quoted(word) for word in words)


def _quoted(word: str) -> str:
    escaped = word.replace("\n", " ").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def parse_rule(words: Sequence[str]) -> ParsedRule:
    """A rule's options whatever their order, without those that say nothing."""
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
    """What one table must be told."""

    table: str
    lines: tuple[str, ...]
    optional: bool  # it adds only rules that a kernel may do without

    def text(self) -> str:
        """For the input of iptables-restore."""
        return "".join(f"{told}\n" for told in (f"*{self.table}", *self.lines, "COMMIT"))


def plan_install(
    saved: dict[str, Table], rules: Sequence[Rule], facts: NetworkFacts
) -> list[RestoreInput]:
    """What to restore so that exactly these rules of a network are there, once each, in order.

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
    """What to restore so that nothing of a network is left in the chains of ours.

    The chains and the jumps to them stay, as with libvirt 9.0.
    """
    changes = []
    for name, table in saved.items():
        lines = _removal(table, [rule for rule in rules if rule.table == name], _marks(facts))
        if lines:
            changes.append(RestoreInput(name, tuple(lines), optional=False))
    return changes


def _marks(facts: NetworkFacts) -> Marks:
    """The pairs of words that only rules of this network have: its bridge and its addresses."""
    bridge = {("-i", facts.bridge), ("-o", facts.bridge)}
    return frozenset(bridge | {("-s", str(subnet)) for subnet in facts.subnets})


def _chains(table: Table, rules: Sequence[Rule], name: str) -> list[str]:
    """Make the chains that are missing, and the jumps to them."""
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
    """All jumps of a hook again, in one order: a single one would come at the wrong place.

    They come first, but for the jumps to guests' filters: a network lets its guests reach each
    other, and what a filter refuses must not get that far.
    """
    gone = [f"-D {chain.hook} -j {chain.name}" for chain in chains if chain not in missing]
    filters = takewhile(lambda words: words[-1].startswith(FILTERS), rules)
    place = len(list(filters)) + 1
    return [*gone, *(f"-I {chain.hook} {place} -j {chain.name}" for chain in chains)]


def _in_place(table: Table, rules: Sequence[Rule], marks: Marks) -> bool:
    """Whether exactly these rules of the network stand in our chains, in a packet's order."""
    for chain in dict.fromkeys(chain.name for chain in CHAINS):
        wanted = [parse_rule(rule.args) for rule in reversed(rules) if rule.chain == chain]
        there = [parse_rule(words) for words in _own(table, chain, set(wanted), marks)]
        if there != wanted:
            return False
    return True


def _removal(table: Table, rules: Sequence[Rule], marks: Marks) -> list[str]:
    """Delete what stands of these rules, and whatever of ours bears the marks."""
    lines = []
    for chain in dict.fromkeys(chain.name for chain in CHAINS):
        wanted = {parse_rule(rule.args) for rule in rules if rule.chain == chain}
        lines += [f"-D {chain} {format_rule(words)}" for words in _own(table, chain, wanted, marks)]
    return lines


def _own(table: Table, chain: str, known: set[ParsedRule], marks: Marks) -> list[list[str]]:
    """The rules of a chain that are the network's: known ones, and those that bear its marks."""
    return [
        words
        for words in table.rules.get(chain, ())
        if parse_rule(words) in known or _bears(words, marks)
    ]


def _bears(words: Sequence[str], marks: Marks) -> bool:
    return any(pair in marks for pair in pairwise(words))
