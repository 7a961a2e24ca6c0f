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
from supervisor.netd.firewall.rules import CHAINS, Chain, FirewallRule

# Options that iptables-save may add or leave out without changing the rule.
DEFAULTS: Final = (
    ("--reject-with", "icmp-port-unreachable"),
    ("--reject-with", "icmp6-port-unreachable"),
)
PLAIN: Final = re.compile(r"[^\s\"'\\]+")
FILTERS: Final = "libvirt-"  # how the chains of `supervisor.netd.nwfilter` begin
Marks = frozenset[tuple[str, str]]  # an option and its value
ParsedRule = frozenset[tuple[str, ...]]


@dataclass(slots=True)
class IptablesTable:
    """One table of iptables-save."""

    chains: set[str] = field(default_factory=set)
    rules: dict[str, list[list[str]]] = field(default_factory=dict)  # of each chain, in order

    def has(self, chain: str, args: Sequence[str]) -> bool:
        """Return whether a chain contains a rule."""
        parsed = parse_rule(args)
        return any(parse_rule(rule) == parsed for rule in self.rules.get(chain, ()))


def parse_save(text: str) -> dict[str, IptablesTable]:
    """Parse the output of iptables-save; comments and counters are ignored."""
    tables: dict[str, IptablesTable] = {}
    table = IptablesTable()
    for line in text.splitlines():
        if line.startswith("*"):
            table = tables.setdefault(line[1:].strip(), IptablesTable())
        elif line.startswith(":"):
            table.chains.add(line[1:].split()[0])
        elif line.startswith("-A "):
            args = _split(line)
            table.rules.setdefault(args[1], []).append(args[2:])
    return tables


def _split(line: str) -> list[str]:
    """Split a line into arguments; shlex is slow, so it is used only for quoted lines."""
    if '"' in line or "'" in line or "\\" in line:
        return shlex.split(line)
    return line.split()


def format_rule(args: Sequence[str]) -> str:
    """Quote arguments for iptables-restore, which knows double quotes only."""
    return " ".join(arg if PLAIN.fullmatch(arg) else _quoted(arg) for arg in args)


def _quoted(arg: str) -> str:
    escaped = arg.replace("\n", " ").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def parse_rule(args: Sequence[str]) -> ParsedRule:
    """Group a rule's options without regard to their order and to defaults.

    A negation may be before its option or after it: ebtables 1.8.9 prints `-s ! MAC`, 1.8.11 prints
    `! -s MAC`.
    """
    groups: list[list[str]] = []
    for arg in _negations_first(args):
        starts = arg.startswith("-") or arg == "!"
        if not groups or (starts and groups[-1] != ["!"]):
            groups.append([arg])
        else:
            groups[-1].append(arg)
    options = {tuple(group) for group in groups}
    return frozenset(
        _ordered(group) for group in options if group not in DEFAULTS and group[0] != "-m"
    )


def _negations_first(args: Sequence[str]) -> list[str]:
    """Write `-s ! VALUE` as `! -s VALUE`."""
    ordered = list(args)
    for at in range(len(ordered) - 2):
        option, negation, value = ordered[at : at + 3]
        if option.startswith("-") and negation == "!" and not value.startswith("-"):
            ordered[at : at + 2] = [negation, option]
    return ordered


def _ordered(group: tuple[str, ...]) -> tuple[str, ...]:
    if group[0] != "--ctstate":
        return group
    return (group[0], ",".join(sorted(group[1].split(","))))


@dataclass(frozen=True, slots=True)
class TableCommand:
    """One command of iptables."""

    verb: str  # "-N": create a chain, "-D": delete a rule, "-I": insert one
    chain: str
    args: tuple[str, ...] = ()  # of the rule
    position: int = 1  # of an inserted rule

    def text(self) -> str:
        """Format a line of the input of iptables-restore."""
        position = f"{self.position} " if self.position > 1 else ""
        return f"{self.verb} {self.chain} {position}{format_rule(self.args)}".rstrip()


@dataclass(frozen=True, slots=True)
class TableChange:
    """The changes of one table, committed as a whole."""

    table: str
    commands: tuple[TableCommand, ...]
    optional: bool  # it adds only rules that a kernel may do without

    def text(self) -> str:
        """Format the input of iptables-restore."""
        lines = (f"*{self.table}", *(command.text() for command in self.commands), "COMMIT")
        return "".join(f"{line}\n" for line in lines)


def plan_install(
    saved: dict[str, IptablesTable], rules: Sequence[FirewallRule], facts: NetworkFacts
) -> list[TableChange]:
    """Plan the changes after which a network has exactly these rules, in order.

    Args:
        saved: the current tables.
        rules: of one family, in the order of insertion; a table that has them all is not touched.
        facts: the network; other rules of our chains that are its go.
    """
    changes = []
    for name in ("filter", "nat", "mangle"):
        table = saved.get(name, IptablesTable())
        table_rules = [rule for rule in rules if rule.table == name]
        commands = _chains(table, table_rules, name)
        if not _in_place(table, table_rules, _marks(facts)):
            commands += _removal(table, table_rules, _marks(facts))
            commands += [TableCommand("-I", rule.chain, rule.args) for rule in table_rules]
        if commands:
            optional = bool(table_rules) and all(rule.optional for rule in table_rules)
            changes.append(TableChange(name, tuple(commands), optional))
    return changes


def plan_removal(
    saved: dict[str, IptablesTable], rules: Sequence[FirewallRule], facts: NetworkFacts
) -> list[TableChange]:
    """Plan the changes after which a network has no rules in our chains.

    The chains and the jumps to them stay, as with libvirt 9.0.
    """
    changes = []
    for name, table in saved.items():
        commands = _removal(table, [rule for rule in rules if rule.table == name], _marks(facts))
        if commands:
            changes.append(TableChange(name, tuple(commands), optional=False))
    return changes


def _marks(facts: NetworkFacts) -> Marks:
    """Return the option pairs that only rules of this network have: its bridge and subnets."""
    bridge = {("-i", facts.bridge), ("-o", facts.bridge)}
    return frozenset(bridge | {("-s", str(subnet)) for subnet in facts.subnets})


def _chains(table: IptablesTable, rules: Sequence[FirewallRule], name: str) -> list[TableCommand]:
    """Create missing chains and the jumps to them."""
    if not rules:
        return []
    table_chains = [chain for chain in CHAINS if chain.table == name]
    commands = [
        TableCommand("-N", chain.name) for chain in table_chains if chain.name not in table.chains
    ]
    missing = {chain for chain in table_chains if not table.has(chain.hook, ("-j", chain.name))}
    jumps: list[TableCommand] = []
    for hook in dict.fromkeys(chain.hook for chain in missing):
        hook_chains = [chain for chain in table_chains if chain.hook == hook]
        jumps += _jumps(hook_chains, missing, table.rules.get(hook, []))
    return [*commands, *jumps]


def _jumps(
    chains: Sequence[Chain], missing: set[Chain], rules: Sequence[Sequence[str]]
) -> list[TableCommand]:
    """Write all jumps of a hook again: one missing jump could only be inserted out of order.

    They come first, but for the jumps to guests' filters: a network lets its guests reach each
    other, and packets that a filter drops must not reach the network's chains.
    """
    deletions = [
        TableCommand("-D", chain.hook, ("-j", chain.name))
        for chain in chains
        if chain not in missing
    ]
    filters = takewhile(lambda rule: rule[-1].startswith(FILTERS), rules)
    place = len(list(filters)) + 1
    insertions = [TableCommand("-I", chain.hook, ("-j", chain.name), place) for chain in chains]
    return [*deletions, *insertions]


def _in_place(table: IptablesTable, rules: Sequence[FirewallRule], marks: Marks) -> bool:
    """Return whether our chains contain exactly these rules of the network, in order."""
    for chain in dict.fromkeys(chain.name for chain in CHAINS):
        expected = [parse_rule(rule.args) for rule in reversed(rules) if rule.chain == chain]
        current = [parse_rule(args) for args in _network_rules(table, chain, set(expected), marks)]
        if current != expected:
            return False
    return True


def _removal(
    table: IptablesTable, rules: Sequence[FirewallRule], marks: Marks
) -> list[TableCommand]:
    """Delete these rules, and all rules in our chains with the network's marks."""
    commands = []
    for chain in dict.fromkeys(chain.name for chain in CHAINS):
        parsed = {parse_rule(rule.args) for rule in rules if rule.chain == chain}
        commands += [
            TableCommand("-D", chain, tuple(args))
            for args in _network_rules(table, chain, parsed, marks)
        ]
    return commands


def _network_rules(
    table: IptablesTable, chain: str, rules: set[ParsedRule], marks: Marks
) -> list[list[str]]:
    """Return a chain's rules that belong to the network: known ones, and those with its marks."""
    return [
        args
        for args in table.rules.get(chain, ())
        if parse_rule(args) in rules or _has_mark(args, marks)
    ]


def _has_mark(args: Sequence[str], marks: Marks) -> bool:
    return any(pair in marks for pair in pairwise(args))
