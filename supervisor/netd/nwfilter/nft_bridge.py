"""The nwfilter backend for nftables: table `bridge libvirt_nwfilter`.

Owns: that table. May touch: nothing else.

Each side has two base chains, as frames pass ebtables first and iptables then: the second may drop
what the first accepts. Chains are SIDE/TAP and SIDE/TAP/CHAIN; no tap has a "/" in its name.

A change of any number of taps is one commit. A chain that remains is flushed and filled, not
replaced: the kernel looks up verdict maps in the newest generation, but evaluates rules in the
generation of the frame's arrival, so a frame in between would find a new chain empty, and pass.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator, Mapping
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.netd.firewall.commands import run, run_ok
from supervisor.netd.firewall.nft_plan import Json
from supervisor.netd.nwfilter.nft_expressions import comment_of, ether_expression, inet_expression
from supervisor.netd.nwfilter.restore_text import Plans
from supervisor.netd.nwfilter.tap_plan import TapPlan

TABLE: Final = "libvirt_nwfilter"
BRIDGE: Final[dict[str, Json]] = {"family": "bridge", "table": TABLE}
ARGV: Final = ("nft", "-j", "-f", "-")
ATTEMPTS: Final = 3
EPROTO: Final = "Protocol error"  # how the kernel refuses to look at connections in a bridge
# Base chain and map: the hook, its priority, and the side of a frame that is looked up. The second
# look comes after the bridge's connection tracking.
LOOKS: Final = {
    "sent": ("prerouting", -300, "iifname"),
    "sent_packets": ("prerouting", -150, "iifname"),
    "received": ("postrouting", -300, "oifname"),
    "received_packets": ("postrouting", 0, "oifname"),
}
ETHER: Final = {"sent": "I", "received": "O"}
INET: Final = {"sent_packets": "FI", "received_packets": "FO"}

Rule = dict[str, Json]

log = logging.getLogger(__name__)


class NftBridge:
    """The nftables backend."""

    async def apply(self, plans: Plans) -> None:
        """Replace the chains of taps in one commit.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT, CONFIG_UNSUPPORTED: nothing has changed.
        """
        for attempt in range(1, ATTEMPTS + 1):
            commands = await asyncio.to_thread(_input, await _chains(), plans)
            try:
                await run_ok(ARGV, stdin=commands)
            except VirError as error:
                if EPROTO in str(error):
                    raise _no_conntrack() from error
                if attempt == ATTEMPTS or error.code is ErrorCode.OPERATION_TIMEOUT:
                    raise
                log.info("the table of filters has changed meanwhile: %s", error)
            else:
                return

    async def taps(self) -> set[str]:
        """Return the taps that have chains.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT.
        """
        return {name.split("/")[1] for name in await _chains() if "/" in name}


async def _chains() -> set[str]:
    """List the names of the table's chains."""
    ended = await run(["nft", "-j", "list", "chains", "bridge"])
    if ended.code != 0:
        return set()
    entries = json.loads(ended.output)["nftables"]
    chains = [entry["chain"] for entry in entries if "chain" in entry]
    return {chain["name"] for chain in chains if chain["table"] == TABLE}


def _no_conntrack() -> VirError:
    detail = (
        "the kernel cannot follow connections in bridges, which the filter's rules on IP packets "
        "need: load the module nf_conntrack_bridge, set statematch='false' on these rules, or set "
        'firewall_backend = "iptables" in network.conf'
    )
    return VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.NWFILTER)


def _input(existing: set[str], plans: Plans) -> str:
    return json.dumps({"nftables": plan_change(existing, plans)})


def plan_change(existing: set[str], plans: Plans) -> list[Json]:
    """List the commands that replace the chains of taps. Pure.

    Args:
        existing: the names of the chains that there are.
        plans: of each tap.

    Raises:
        VirError: CONFIG_UNSUPPORTED: nftables has nothing for an option.
    """
    commands = list(_base())
    for tap, plan in plans.items():
        chains = _chains_of(plan) if plan is not None else {}
        commands += _removal(existing, tap, set(chains))
        commands += _installation(tap, chains)
    return commands


def _base() -> Iterator[Json]:
    yield {"add": {"table": {"family": "bridge", "name": TABLE}}}
    for name, (hook, priority, side) in LOOKS.items():
        options: dict[str, Json] = {"type": "filter", "hook": hook, "prio": priority}
        yield _add("chain", name=name, policy="accept", **options)
        yield {"flush": {"chain": {**BRIDGE, "name": name}}}
        yield _add("map", name=name, type="ifname", map="verdict")
        key: Json = {"meta": {"key": side}}
        yield _add("rule", chain=name, expr=[{"vmap": {"key": key, "data": f"@{name}"}}])


def _removal(existing: set[str], tap: str, planned: set[str]) -> Iterator[Json]:
    """Flush a tap's chains and delete those that its plan does not have."""
    tap_chains = sorted(name for name in existing if "/" in name and name.split("/")[1] == tap)
    for look in LOOKS:
        if f"{look}/{tap}" in tap_chains and f"{look}/{tap}" not in planned:
            yield _element("delete", look, tap)
    for name in tap_chains:
        yield {"flush": {"chain": {**BRIDGE, "name": name}}}
    for name in tap_chains:
        if name not in planned:
            yield {"delete": {"chain": {**BRIDGE, "name": name}}}


def _installation(tap: str, chains: Mapping[str, list[Rule]]) -> Iterator[Json]:
    for name in chains:
        yield _add("chain", name=name)
    for name, rules in chains.items():
        for rule in rules:
            yield _add("rule", chain=name, **rule)
    for look in LOOKS:
        if f"{look}/{tap}" in chains:
            yield _element("add", look, tap)


def _chains_of(plan: TapPlan) -> dict[str, list[Rule]]:
    """Translate the chains of a tap."""
    chains: dict[str, list[Rule]] = {}
    for look, side in ETHER.items():
        names = _ether_names(plan, look, side)
        for old, name in names.items():
            rules = [tuple(names.get(arg, arg) for arg in args) for args in plan.ether[old]]
            chains[name] = [{"expr": ether_expression(args)} for args in rules]
    if plan.inet:
        for look, kind in INET.items():
            chains[f"{look}/{plan.tap}"] = list(_packet_rules(plan, kind))
    return chains


def _packet_rules(plan: TapPlan, kind: str) -> Iterator[Rule]:
    for family, chains in plan.inet.items():
        for args in chains[f"{kind}-{plan.tap}"]:
            expression: Json = list(inet_expression(family, args, to_guest=kind == "FO"))
            comment = comment_of(args)
            yield {"expr": expression, "comment": comment} if comment else {"expr": expression}


def _ether_names(plan: TapPlan, look: str, side: str) -> Mapping[str, str]:
    """Map the ebtables chains of one side to the names in this table."""
    root, prefix = f"libvirt-{side}-{plan.tap}", f"{side}-{plan.tap}-"
    names = {}
    for chain in plan.ether:
        if chain == root:
            names[chain] = f"{look}/{plan.tap}"
        elif chain.startswith(prefix):
            names[chain] = f"{look}/{plan.tap}/{chain.removeprefix(prefix)}"
    return names


def _element(verb: str, look: str, tap: str) -> Json:
    jump: Json = {"jump": {"target": f"{look}/{tap}"}}
    return {verb: {"element": {**BRIDGE, "name": look, "elem": [[tap, jump]]}}}


def _add(kind: str, **members: Json) -> Json:
    return {"add": {kind: {**BRIDGE, **members}}}
