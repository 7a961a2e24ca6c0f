"""nftables changes are one commit without an empty chain in between."""

from __future__ import annotations

from typing import Final

from conf.nwfilter import parse_filter, stock_filters
from supervisor.netd.firewall.nft_plan import Json
from supervisor.netd.nwfilter.nft_bridge import plan_change
from supervisor.netd.nwfilter.tap_plan import TapPlan, plan_tap

STOCK: Final = {name: parse_filter(xml) for name, xml in stock_filters().items()}
ADDRESS: Final = {"MAC": ("52:54:00:00:00:01",), "IP": ("10.0.0.2",)}


def plan(name: str) -> TapPlan:
    return plan_tap("vnet0", name, ADDRESS, STOCK.get)


def said(commands: list[Json], verb: str, kind: str) -> list[str]:
    """The names of what is added, flushed or deleted for the tap."""
    found = []
    for command in commands:
        assert isinstance(command, dict)
        told = command.get(verb)
        if isinstance(told, dict) and isinstance(entry := told.get(kind), dict):
            found.append(str(entry.get("name", entry.get("chain"))))
    return [name for name in found if "/" in name or kind == "element"]


def chains_after(commands: list[Json]) -> set[str]:
    return set(said(commands, "add", "chain"))


def test_remaining_chains_are_flushed_not_replaced() -> None:
    there = chains_after(plan_change(set(), {"vnet0": plan("clean-traffic")}))
    again = plan_change(there, {"vnet0": plan("clean-traffic")})
    assert set(said(again, "flush", "chain")) == there
    assert said(again, "delete", "chain") == said(again, "delete", "element") == []


def test_unused_chains_are_deleted_in_the_same_commit() -> None:
    there = chains_after(plan_change(set(), {"vnet0": plan("clean-traffic")}))
    smaller = plan_change(there, {"vnet0": plan("no-mac-spoofing")})
    kept = chains_after(smaller)
    assert kept < there
    assert set(said(smaller, "delete", "chain")) == there - kept


def test_removed_tap_has_no_chain_and_no_map_element() -> None:
    there = chains_after(plan_change(set(), {"vnet0": plan("clean-traffic")}))
    gone = plan_change(there, {"vnet0": None})
    assert set(said(gone, "delete", "chain")) == there
    assert set(said(gone, "delete", "element")) == {"sent", "received"} & {
        name.split("/")[0] for name in there
    }
