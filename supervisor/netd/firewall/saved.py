"""What iptables-save prints, and what iptables-restore must be told to get from there to a plan.

Owns: reading the one, writing the other. Pure.

A table is committed as a whole: between two states of it there is no third, so rules that are put in
again leave no gap.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from supervisor.netd.firewall.rules import CHAINS, Chain, Rule

# Words that iptables-save may add or leave out, without another meaning.
DEFAULTS: Final = (
    ("--reject-with", "icmp-port-unreachable"),
    ("--reject-with", "icmp6-port-unreachable"),
)
Meaning = frozenset[tuple[str, ...]]


@dataclass(slots=True)
class Table:
    """One table as saved."""

    chains: set[str] = field(default_factory=set)
    rules: dict[str, list[list[str]]] = field(default_factory=dict)  # of each chain, in order

    def has(self, chain: str, words: Sequence[str]) -> bool:
        """Whether a chain holds a rule."""
        wanted = meaning(words)
        return any(meaning(rule) == wanted for rule in self.rules.get(chain, ()))


def read_saved(text: str) -> dict[str, Table]:
    """Read what iptables-save printed; lines of other kinds are passed over."""
    tables: dict[str, Table] = {}
    table = Table()
    for line in text.splitlines():
        if line.startswith("*"):
            table = tables.setdefault(line[1:].strip(), Table())
        elif line.startswith(":"):
            table.chains.add(line[1:].split()[0])
        elif line.startswith("-A "):
            words = shlex.split(line)
            table.rules.setdefault(words[1], []).append(words[2:])
    return tables


def meaning(words: Sequence[str]) -> Meaning:
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


def plan_install(saved: dict[str, Table], rules: Sequence[Rule], obsolete: Sequence[Rule]) -> str:
    """What to restore so that exactly these rules of a network are there, once each, in order.

    Args:
        saved: what there is.
        rules: one family's, in the order of insertion; a table where they all stand is left alone.
        obsolete: rules of the same network that must go.

    Returns:
        What to pass to `iptables-restore --noflush`; empty where all is as it should be.
    """
    touched = {rule.table for rule in (*rules, *obsolete)}
    names = [name for name in ("filter", "nat", "mangle") if name in touched]
    parts = []
    for name in names:
        table = saved.get(name, Table())
        wanted = [rule for rule in rules if rule.table == name]
        unwanted = [rule for rule in obsolete if rule.table == name]
        lines = _chains(table, wanted, name)
        if not _in_place(table, wanted) or _present(table, unwanted):
            lines += _removal(table, (*wanted, *unwanted))
            lines += [f"-I {rule.chain} {shlex.join(rule.words)}" for rule in wanted]
        if lines:
            parts += [f"*{name}", *lines, "COMMIT"]
    return "".join(f"{line}\n" for line in parts)


def plan_removal(saved: dict[str, Table], rules: Sequence[Rule], bridge: str) -> str:
    """What to restore so that nothing of a network is left in the chains of ours.

    The chains and the jumps to them stay, as with libvirt 9.0.
    """
    parts = []
    for name, table in saved.items():
        wanted = [rule for rule in rules if rule.table == name]
        lines = _removal(table, wanted, bridge)
        if lines:
            parts += [f"*{name}", *lines, "COMMIT"]
    return "".join(f"{line}\n" for line in parts)


def _chains(table: Table, rules: Sequence[Rule], name: str) -> list[str]:
    """Make the chains that are missing, and the jumps to them."""
    if not rules:
        return []
    ours = [chain for chain in CHAINS if chain.table == name]
    made = [f"-N {chain.name}" for chain in ours if chain.name not in table.chains]
    missing = {chain for chain in ours if not table.has(chain.hook, ("-j", chain.name))}
    jumps: list[str] = []
    for hook in dict.fromkeys(chain.hook for chain in missing):
        jumps += _jumps([chain for chain in ours if chain.hook == hook], missing)
    return [*made, *jumps]


def _jumps(chains: Sequence[Chain], missing: set[Chain]) -> list[str]:
    """All jumps of a hook again, in one order: a single one would come at the wrong place."""
    gone = [f"-D {chain.hook} -j {chain.name}" for chain in chains if chain not in missing]
    return [*gone, *(f"-I {chain.hook} -j {chain.name}" for chain in chains)]


def _in_place(table: Table, rules: Sequence[Rule]) -> bool:
    """Whether the rules of each chain stand there once each, in the order of a packet's way."""
    for chain in {rule.chain for rule in rules}:
        wanted = [meaning(rule.words) for rule in reversed(rules) if rule.chain == chain]
        known = set(wanted)
        there = [meaning(words) for words in table.rules.get(chain, ())]
        if [one for one in there if one in known] != wanted:
            return False
    return True


def _present(table: Table, rules: Iterable[Rule]) -> bool:
    return any(table.has(rule.chain, rule.words) for rule in rules)


def _removal(table: Table, rules: Sequence[Rule], bridge: str = "") -> list[str]:
    """Delete what stands of these rules, and whatever of ours names the bridge."""
    lines = []
    for chain in dict.fromkeys(chain.name for chain in CHAINS):
        wanted = {meaning(rule.words) for rule in rules if rule.chain == chain}
        lines += [
            f"-D {chain} {shlex.join(words)}"
            for words in table.rules.get(chain, ())
            if meaning(words) in wanted or (bridge and _names(words, bridge))
        ]
    return lines


def _names(words: Sequence[str], bridge: str) -> bool:
    return any(
        pair in (("-i", bridge), ("-o", bridge)) for pair in zip(words, words[1:], strict=False)
    )
