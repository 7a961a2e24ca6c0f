"""Plans the nftables commands for a network's rules, as one commit of `nft -j -f -`. Pure.

Owns: the layout of the table `inet libvirt_network`. Pure.

The base chains look up the bridge in maps and jump to the chains of its network; addresses are
translated in a base chain of the network's own. A network's rules are those of `rules.plan`, so
both executors let the same packets pass. Every command can be repeated: a commit makes what is
missing, and replaces a network's chains whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.netd.firewall.network_facts import NetworkFacts
from supervisor.netd.firewall.rules import Family, FirewallRule, plan

Json = None | bool | int | str | list["Json"] | dict[str, "Json"]

TABLE: Final = "libvirt_network"
INET: Final[dict[str, Json]] = {"family": "inet", "table": TABLE}
# Base chain, map, the interface that is looked up, the chain of iptables that it replaces.
LOOKUPS: Final = (
    ("input", "to_host", "iifname", "LIBVIRT_INP"),
    ("output", "from_host", "oifname", "LIBVIRT_OUT"),
    ("forward", "across", "iifname", "LIBVIRT_FWX"),
    ("forward", "inwards", "oifname", "LIBVIRT_FWI"),
    ("forward", "outwards", "iifname", "LIBVIRT_FWO"),
)


def plan_install(facts: NetworkFacts) -> list[Json]:
    """List the commands after which a network has exactly its rules. Pure."""
    rules = [rule for rule in plan(facts) if rule.table != "mangle"]
    commands = [*_base(), *_removal(facts.bridge)]
    for _, lookup, _, old in LOOKUPS:
        chain_rules = [rule for rule in rules if rule.chain == old]
        if chain_rules:
            name = f"{lookup}_{facts.bridge}"
            commands += [_add("chain", name=name), *_rules(name, chain_rules)]
            commands.append(_element("add", lookup, facts.bridge))
    translating = [rule for rule in rules if rule.table == "nat"]
    if translating:
        commands += [_translation(facts.bridge), *_rules(_nat(facts.bridge), translating)]
    return commands


def plan_removal(bridge: str) -> list[Json]:
    """List the commands after which a network has no rules. Pure."""
    return [*_base(), *_removal(bridge)]


def _base() -> Iterator[Json]:
    """Create the table and its base chains, flush and fill them in the same commit."""
    yield {"add": {"table": {"family": "inet", "name": TABLE}}}
    for hook in dict.fromkeys(lookup[0] for lookup in LOOKUPS):
        options: dict[str, Json] = {"type": "filter", "hook": hook, "prio": 0, "policy": "accept"}
        yield _add("chain", name=hook, **options)
        yield {"flush": {"chain": {**INET, "name": hook}}}
    for hook, name, side, _ in LOOKUPS:
        yield _add("map", name=name, type="ifname", map="verdict")
        key: Json = {"meta": {"key": side}}
        yield _add("rule", chain=hook, expr=[{"vmap": {"key": key, "data": f"@{name}"}}])


def _removal(bridge: str) -> Iterator[Json]:
    """Add before deleting: nft fails when it deletes what does not exist."""
    for _, lookup, _, _ in LOOKUPS:
        yield _add("chain", name=f"{lookup}_{bridge}")
        yield _element("add", lookup, bridge)
        yield _element("delete", lookup, bridge)
        yield {"flush": {"chain": {**INET, "name": f"{lookup}_{bridge}"}}}
        yield {"delete": {"chain": {**INET, "name": f"{lookup}_{bridge}"}}}
    yield _translation(bridge)
    yield {"flush": {"chain": {**INET, "name": _nat(bridge)}}}
    yield {"delete": {"chain": {**INET, "name": _nat(bridge)}}}


def _nat(bridge: str) -> str:
    return f"translation_{bridge}"


def _translation(bridge: str) -> Json:
    options: dict[str, Json] = {"type": "nat", "hook": "postrouting", "prio": 100}
    return _add("chain", name=_nat(bridge), policy="accept", **options)


def _element(verb: str, lookup: str, bridge: str) -> Json:
    jump: Json = {"jump": {"target": f"{lookup}_{bridge}"}}
    return {verb: {"element": {**INET, "name": lookup, "elem": [[bridge, jump]]}}}


def _add(kind: str, **members: Json) -> Json:
    return {"add": {kind: {**INET, **members}}}


def _rules(chain: str, rules: Sequence[FirewallRule]) -> Iterator[Json]:
    """List rules in evaluation order: iptables inserts at the head, so its last one is first."""
    for rule in reversed(rules):
        yield _add("rule", chain=chain, expr=[*_matches(rule), {"counter": None}, _verdict(rule)])


def _matches(rule: FirewallRule) -> list[Json]:
    """Translate the matches of a rule. Options come in pairs, "!" before a pair."""
    matches: list[Json] = []
    protocol = "ip" if rule.family is Family.V4 else "ip6"
    if not {"-s", "-d"} & set(rule.args):
        matches.append(_match({"meta": {"key": "nfproto"}}, f"ipv{rule.family.value}"))
    args, transport, negated = iter(rule.args), "", False
    for arg in args:
        if arg == "-j":
            break
        if arg == "!":
            negated = True
            continue
        value = next(args)
        if arg == "-p":
            transport = value
        left = _left(arg, protocol, transport)
        if left is not None:
            matches.append(_match(left, _right(arg, value), negated=negated))
        negated = False
    return matches


def _left(arg: str, protocol: str, transport: str) -> Json:
    fields: dict[str, Json] = {
        "-i": {"meta": {"key": "iifname"}},
        "-o": {"meta": {"key": "oifname"}},
        "-s": {"payload": {"protocol": protocol, "field": "saddr"}},
        "-d": {"payload": {"protocol": protocol, "field": "daddr"}},
        "-p": {"meta": {"key": "l4proto"}},
        "--dport": {"payload": {"protocol": transport, "field": "dport"}},
        "--ctstate": {"ct": {"key": "state"}},
        "-m": None,  # names a match module; its options follow
    }
    return fields[arg]


def _right(arg: str, value: str) -> Json:
    if arg in ("-s", "-d"):
        address, _, length = value.partition("/")
        return {"prefix": {"addr": address, "len": int(length)}}
    if arg == "--dport":
        return int(value)
    return [state.lower() for state in value.split(",")] if arg == "--ctstate" else value


def _match(left: Json, right: Json, *, negated: bool = False) -> Json:
    operator = "in" if isinstance(right, list) else "!=" if negated else "=="
    return {"match": {"op": operator, "left": left, "right": right}}


def _verdict(rule: FirewallRule) -> Json:
    at = rule.args.index("-j")
    target, options = rule.args[at + 1], rule.args[at + 2 :]
    if target in ("ACCEPT", "RETURN"):
        return {target.lower(): None}
    if target == "REJECT":
        return {"reject": {"type": "icmpx", "expr": "port-unreachable"}}
    if target == "MASQUERADE":
        return {"masquerade": {"port": _range(options[1])} if options else None}
    if target == "SNAT":
        return {"snat": _source(rule.family, options[1])}
    detail = f"nftables has nothing for the target {target} of iptables"
    raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.FIREWALL)


def _source(family: Family, value: str) -> Json:
    """Parse `ADDRESS[-ADDRESS][:PORT-PORT]`; IPv6 addresses before ports are in brackets."""
    if family is Family.V6:
        addresses, _, ports = value.removeprefix("[").partition("]")
        options: dict[str, Json] = {"family": "ip6"}
    else:
        addresses, _, ports = value.partition(":")
        options = {"family": "ip"}
    first, _, last = addresses.partition("-")
    options["addr"] = {"range": [first, last]} if last else first
    if ports:
        options["port"] = _range(ports.removeprefix(":"))
    return options


def _range(ports: str) -> Json:
    first, _, last = ports.partition("-")
    return {"range": [int(first), int(last)]} if last else int(first)
