"""Plans the chains of one tap from a filter and its variables. Pure.

Owns: the chains' names and order. Pure.
Source: `ebtables -t nat -L` and `iptables -S` on hosts of libvirt 9.0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from conf.nwfilter.model import ROOT, Filter
from supervisor.netd.firewall.rules import Family
from supervisor.netd.nwfilter import ebtables_rules, iptables_rules
from supervisor.netd.nwfilter.references import ResolvedRule, flatten
from supervisor.netd.nwfilter.values import invalid_value, ip
from supervisor.netd.nwfilter.values import mac as written_mac
from supervisor.netd.nwfilter.variables import (
    VariableRef,
    Variables,
    combinations,
    unresolved_references,
)

RuleArgs = tuple[str, ...]

# The side of the host on which a frame is met, by libvirt's letter, and the hook of ebtables.
SIDES: Final = {"I": ("PREROUTING", "-i"), "O": ("POSTROUTING", "-o")}


@dataclass(slots=True)
class TapPlan:
    """The ebtables and iptables chains of one tap, in the order of creation."""

    tap: str
    ether: dict[str, list[RuleArgs]] = field(default_factory=dict)
    inet: dict[Family, dict[str, list[RuleArgs]]] = field(default_factory=dict)

    def root_chains(self) -> dict[str, RuleArgs]:
        """Return the root chains with the options of the jumps to them."""
        chains: dict[str, RuleArgs] = {}
        for side, (hook, option) in SIDES.items():
            if root_chain(side, self.tap) in self.ether:
                chains[root_chain(side, self.tap)] = (hook, option, self.tap)
        return chains


def root_chain(side: str, tap: str) -> str:
    """Return the name of a tap's root chain in ebtables."""
    return f"libvirt-{side}-{tap}"


def plan_tap(
    tap: str, name: str, variables: Variables, find: Callable[[str], Filter | None]
) -> TapPlan:
    """List the chains of a tap and their rules. Pure.

    Args:
        tap: the device.
        name: the filter.
        variables: MAC, and those of the interface.
        find: filters by name.

    Raises:
        VirError: INTERNAL_ERROR: a filter is missing, a variable has no value or one that does not
            fit.
    """
    resolved = flatten(name, variables, find)
    plan = TapPlan(tap)
    _ebtables_chains(
        plan, [each for each in resolved if each.rule.protocol in ebtables_rules.PROTOCOLS]
    )
    for each in resolved:
        protocol = each.rule.protocol
        if protocol in ebtables_rules.PROTOCOLS:
            continue
        if protocol not in iptables_rules.PROTOCOLS:
            raise invalid_value(protocol, "a protocol")
        for values in combinations(each.rule.values, each.variables):
            for rule in iptables_rules.iptables_rules(each.rule, values):
                chains = plan.inet.setdefault(rule.family, _empty(tap))
                chains[f"{rule.chain}-{tap}"].append(rule.args)
    return plan


def unresolved(
    name: str, variables: Variables, find: Callable[[str], Filter | None]
) -> list[VariableRef]:
    """List the references without a value; IP may still be learned.

    Raises:
        VirError: INTERNAL_ERROR: a filter is missing.
    """
    return [
        access
        for rule in flatten(name, variables, find)
        for access in unresolved_references(rule.rule.values, rule.variables)
    ]


def plan_learning(tap: str, mac: str, *, dhcp_only: bool, servers: Sequence[str] = ()) -> TapPlan:
    """Plan the rules in force until the guest's address is learned. Pure.

    Args:
        tap: the device.
        mac: the guest's.
        dhcp_only: accept DHCP only; otherwise also IPv4 and ARP from the guest's MAC address.
        servers: addresses of allowed DHCP servers; none: any.

    Raises:
        VirError: INTERNAL_ERROR: a server is not an IP address.
    """
    sending, receiving, mac = root_chain("I", tap), root_chain("O", tap), written_mac(mac)
    plan = TapPlan(tap, {sending: [], receiving: []})
    client = ("-p", "ipv4", "--ip-protocol", "17")
    if dhcp_only:
        asks = (*client, "--ip-source-port", "68", "--ip-destination-port", "67")
        plan.ether[sending] += [("-s", mac, *asks, "-j", "ACCEPT"), ("-j", "DROP")]
        answers = (*client, "--ip-source-port", "67", "--ip-destination-port", "68")
        for server in servers or ("",):
            source = ("--ip-source", str(ip(server))) if server else ()
            for receiver in (mac, "ff:ff:ff:ff:ff:ff"):
                args = ("-d", receiver, *client[:2], *source, *answers[2:], "-j", "ACCEPT")
                plan.ether[receiving].append(args)
        plan.ether[receiving].append(("-j", "DROP"))
        return plan
    del plan.ether[receiving]
    plan.ether[sending] += [
        ("!", "-s", mac, "-j", "DROP"),
        ("-p", "0x800", "-j", "ACCEPT"),
        ("-p", "0x806", "-j", "ACCEPT"),
        ("-j", "DROP"),
    ]
    return plan


def _empty(tap: str) -> dict[str, list[RuleArgs]]:
    return {f"{chain}-{tap}": [] for chain in ("FI", "FO", "HI")}


def _ebtables_chains(plan: TapPlan, placed: Sequence[ResolvedRule]) -> None:
    """Fill the ebtables chains; root rules and jumps to other chains by priority."""
    for side in SIDES:
        hook_chains = [rule for rule in placed if _is_on_side(rule, side)]
        if not hook_chains:
            continue
        name = root_chain(side, plan.tap)
        chains: dict[str, list[RuleArgs]] = {name: []}
        waiting = _sub_chains(hook_chains)
        for rule in hook_chains:
            if rule.chain != ROOT:
                continue
            while waiting and waiting[0][0] <= rule.rule.priority:
                _jump(chains, name, waiting.pop(0)[1], side, plan.tap)
            chains[name] += _rule_args(rule, side)
        for _, chain in waiting:
            _jump(chains, name, chain, side, plan.tap)
        for rule in hook_chains:
            if rule.chain != ROOT:
                chains[f"{side}-{plan.tap}-{rule.chain}"] += _rule_args(rule, side)
        plan.ether.update(chains)


def _sub_chains(placed: Iterable[ResolvedRule]) -> list[tuple[int, str]]:
    """List the chains beside the root with their priorities, in order."""
    priorities = {rule.chain: rule.chain_priority for rule in placed if rule.chain != ROOT}
    return sorted((priority, chain) for chain, priority in priorities.items())


def _jump(chains: dict[str, list[RuleArgs]], name: str, chain: str, side: str, tap: str) -> None:
    target = f"{side}-{tap}-{chain}"
    chains[target] = []
    chains[name].append((*ebtables_rules.chain_match(chain), "-j", target))


def _is_on_side(placed: ResolvedRule, side: str) -> bool:
    return placed.rule.direction in ("inout", "out" if side == "I" else "in")


def _rule_args(placed: ResolvedRule, side: str) -> list[RuleArgs]:
    """Build a rule's options on one side; 'inout' rules are reversed for the guest's frames."""
    rule = placed.rule
    reverse = rule.direction == "inout" and side == "I"
    return [
        (
            *ebtables_rules.ebtables_args(
                rule.protocol, values, reverse=reverse, negated=rule.negated
            ),
            "-j",
            ebtables_rules.TARGETS[rule.action],
        )
        for values in combinations(rule.values, placed.variables)
    ]
