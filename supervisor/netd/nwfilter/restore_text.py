"""Writes the input of ebtables-restore and iptables-restore for the chains of taps. Pure.

Owns: comparing the current chains with the plans.

One restore is one commit: a packet meets the old chains or the new ones, never none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Final

from supervisor.netd.firewall.iptables_save import IptablesTable, format_rule
from supervisor.netd.firewall.rules import Family
from supervisor.netd.nwfilter.ebtables_rules import CHAIN_MATCHES
from supervisor.netd.nwfilter.tap_plan import SIDES, RuleArgs, TapPlan, root_chain

# Built-in chain and the chain that it jumps to, in the order of evaluation.
BASE: Final = (
    ("INPUT", "libvirt-host-in"),
    ("FORWARD", "libvirt-in"),
    ("FORWARD", "libvirt-out"),
    ("FORWARD", "libvirt-in-post"),
)
INET_CHAINS: Final = ("FI", "FO", "HI")


Plans = Mapping[str, TapPlan | None]  # of each tap; None: it is to have no chains


def ether_change(saved: IptablesTable, plans: Plans) -> str:
    """Write the input of ebtables-restore --noflush for the chains of taps, one commit.

    Returns:
        The input; empty where there is nothing to do.
    """
    return _text("nat", [line for tap, plan in plans.items() for line in _ether(saved, tap, plan)])


def inet_change(saved: IptablesTable, plans: Plans, family: Family) -> str:
    """Write the input of iptables-restore --noflush for the chains of taps, one commit.

    Returns:
        The input; empty where there is nothing to do.
    """
    planned = {tap: plan.inet.get(family, {}) if plan else {} for tap, plan in plans.items()}
    lines = _base(saved) if any(planned.values()) else []
    for tap, chains in planned.items():
        lines += _inet(saved, tap, chains)
    if not any(planned.values()):
        lines += _unused(saved, set(plans))
    return _text("filter", lines)


def _ether(saved: IptablesTable, tap: str, plan: TapPlan | None) -> list[str]:
    planned = plan.ether if plan is not None else {}
    hooked = plan.root_chains() if plan is not None else {}
    old = sorted(chain for chain in saved.chains if _is_ether(chain, tap))
    lines = [
        f"-D {hook} {option} {tap} -j {root_chain(side, tap)}"
        for side, (hook, option) in SIDES.items()
        if root_chain(side, tap) not in hooked and _ether_hooked(saved, side, tap)
    ]
    lines += [f"-F {chain}" for chain in old]
    lines += [f"-X {chain}" for chain in old if chain not in planned]
    lines += [f":{chain} RETURN" for chain in planned if chain not in old]
    lines += [
        f"-A {chain} {format_rule(args)}" for chain, rules in planned.items() for args in rules
    ]
    lines += [
        f"-A {hook} {option} {tap} -j {root_chain(side, tap)}"
        for side, (hook, option) in SIDES.items()
        if root_chain(side, tap) in hooked and not _ether_hooked(saved, side, tap)
    ]
    return lines


def _inet(saved: IptablesTable, tap: str, planned: Mapping[str, list[RuleArgs]]) -> list[str]:
    links = _links(tap) if planned else []
    current = _base_rules(saved, tap)
    old = [f"{kind}-{tap}" for kind in INET_CHAINS if f"{kind}-{tap}" in saved.chains]
    lines = [
        f"-D {chain} {format_rule(args)}" for chain, args in current if (chain, args) not in links
    ]
    lines += [f"-F {chain}" for chain in old]
    lines += [f"-X {chain}" for chain in old if chain not in planned]
    lines += [f"-N {chain}" for chain in planned if chain not in old]
    lines += [
        f"-A {chain} {format_rule(args)}" for chain, rules in planned.items() for args in rules
    ]
    lines += [
        f"-A {chain} {format_rule(args)}" for chain, args in links if (chain, args) not in current
    ]
    return lines


def taps_in(ether: IptablesTable, inet: Iterable[IptablesTable]) -> set[str]:
    """Return the taps that have chains in saved tables."""
    prefixes = {f"libvirt-{side}-" for side in SIDES}
    taps = {chain[10:] for chain in ether.chains if chain[:10] in prefixes}
    for table in inet:
        taps |= {chain[3:] for chain in table.chains if chain[:3] in ("FI-", "FO-", "HI-")}
    return taps


def _is_ether(chain: str, tap: str) -> bool:
    if chain in (root_chain("I", tap), root_chain("O", tap)):
        return True
    prefix, rest = chain[: len(tap) + 3], chain[len(tap) + 3 :]
    return prefix in (f"I-{tap}-", f"O-{tap}-") and rest.partition("-")[0] in CHAIN_MATCHES


def _ether_hooked(saved: IptablesTable, side: str, tap: str) -> bool:
    hook, option = SIDES[side]
    return [option, tap, "-j", root_chain(side, tap)] in saved.rules.get(hook, [])


def _links(tap: str) -> list[tuple[str, RuleArgs]]:
    """List the rules that send a tap's packets to its chains."""
    physdev = ("-m", "physdev")
    inwards = (*physdev, "--physdev-in", tap)
    outwards = (*physdev, "--physdev-out", tap, "--physdev-is-bridged")
    return [
        ("libvirt-in", (*inwards, "-g", f"FI-{tap}")),
        ("libvirt-out", (*outwards, "-g", f"FO-{tap}")),
        ("libvirt-host-in", (*inwards, "-g", f"HI-{tap}")),
        ("libvirt-in-post", (*inwards, "-j", "ACCEPT")),
    ]


def _base_rules(saved: IptablesTable, tap: str) -> list[tuple[str, RuleArgs]]:
    """List the rules in the base chains that name the tap."""
    return [
        (chain, tuple(args))
        for _, chain in BASE
        for args in saved.rules.get(chain, [])
        if tap in args
    ]


def _base(saved: IptablesTable) -> list[str]:
    """Create the base chains, and put the jumps to them first in their hooks."""
    lines = [f"-N {chain}" for _, chain in BASE if chain not in saved.chains]
    for hook in dict.fromkeys(hook for hook, _ in BASE):
        jumps = [["-j", chain] for own_hook, chain in BASE if own_hook == hook]
        rules = saved.rules.get(hook, [])
        if rules[: len(jumps)] == jumps:
            continue
        lines += [f"-D {hook} {format_rule(args)}" for args in rules if args in jumps]
        lines += [f"-I {hook} {format_rule(args)}" for args in reversed(jumps)]
    return lines


def _unused(saved: IptablesTable, taps: Set[str]) -> list[str]:
    """Delete the base chains with the last tap."""
    chains = [chain for _, chain in BASE if chain in saved.chains]
    for chain in chains:
        if any(taps.isdisjoint(args) for args in saved.rules.get(chain, [])):
            return []
    jumps = [
        f"-D {hook} -j {chain}"
        for hook, chain in BASE
        for args in saved.rules.get(hook, [])
        if args == ["-j", chain]
    ]
    return [*jumps, *(f"-X {chain}" for chain in chains)]


def _text(table: str, lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in (f"*{table}", *lines, "COMMIT")) if lines else ""
