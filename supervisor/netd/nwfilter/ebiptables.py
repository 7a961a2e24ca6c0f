"""The nwfilter backend for ebtables, iptables and ip6tables.

Owns: the chains of taps, and the base chains libvirt-in, -out, -in-post and -host-in.
May touch: those. May not touch: networks' chains, other people's rules.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.netd.firewall.commands import LOCK_S, run_ok
from supervisor.netd.firewall.iptables_save import IptablesTable, parse_save
from supervisor.netd.firewall.rules import Family
from supervisor.netd.nwfilter.restore_text import Plans, ether_change, inet_change, taps_in
from supervisor.netd.nwfilter.tap_plan import TapPlan

PROGRAM: Final = {Family.V4: "iptables", Family.V6: "ip6tables"}
ATTEMPTS: Final = 3  # of a commit that failed as another program changed the table
CALLS: Final = {  # iptables sees bridged packets only where this is 1
    Family.V4: Path("/proc/sys/net/bridge/bridge-nf-call-iptables"),
    Family.V6: Path("/proc/sys/net/bridge/bridge-nf-call-ip6tables"),
}

log = logging.getLogger(__name__)


class Ebiptables:
    """The ebtables/iptables backend. Callers serialize changes."""

    def __init__(self) -> None:
        """Create it; the first change reads the kernel's tables."""
        self._families: dict[str, set[Family]] = {}  # where taps have chains
        self._read = False  # whether chains of an earlier netd are included
        self._checked = False

    async def apply(self, plans: Plans) -> None:
        """Replace the chains of taps, in one commit for each table.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT: some tables may have changed;
                CONFIG_UNSUPPORTED: the host's ebtables cannot commit a table as a whole.
        """
        await self._check()
        if not self._read:
            await self.taps()
        await _change("ebtables", "nat", lambda table: ether_change(table, plans))
        for family in Family:
            family_plans = {
                tap: plan for tap, plan in plans.items() if self._concerns(tap, plan, family)
            }
            if family_plans:
                await self._change_family(family, family_plans)
        for tap, plan in plans.items():
            if plan is not None:
                self._families[tap] = set(plan.inet)
            else:
                self._families.pop(tap, None)

    async def _change_family(self, family: Family, plans: Plans) -> None:
        for tap in plans:
            self._families.setdefault(tap, set()).add(family)
        await _change(PROGRAM[family], "filter", lambda table: inet_change(table, plans, family))
        filtered = [tap for tap, plan in plans.items() if plan is not None and family in plan.inet]
        if filtered:
            await asyncio.to_thread(_warn_of_bypass, family, filtered)

    async def taps(self) -> set[str]:
        """Return the taps that have chains in the kernel.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT.
        """
        await self._check()
        ether = await _read("ebtables", "nat")
        inet = {family: await _read(PROGRAM[family], "filter") for family in Family}
        taps = taps_in(ether, inet.values())
        for tap in taps:
            self._families[tap] = {
                family for family, table in inet.items() if f"FI-{tap}" in table.chains
            }
        self._read = True
        return taps

    def _concerns(self, tap: str, plan: TapPlan | None, family: Family) -> bool:
        """Return whether a tap has, may have or gets chains of a family."""
        return family in self._families.get(tap, ()) or (plan is not None and family in plan.inet)

    async def _check(self) -> None:
        """Refuse ebtables-legacy, which commits rule by rule: traffic would pass unfiltered."""
        if self._checked:
            return
        version = await run_ok(["ebtables", "--version"])
        if "nf_tables" not in version:
            detail = (
                f"{version.strip()} cannot replace a tap's rules in one commit; use ebtables-nft "
                '(update-alternatives --config ebtables), or firewall_backend = "nftables"'
            )
            raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.NWFILTER)
        self._checked = True


async def _read(program: str, table: str) -> IptablesTable:
    return _table(await run_ok([f"{program}-save", "-t", table]), table)


def _planned(saved: str, table: str, plan_input: Callable[[IptablesTable], str]) -> str:
    return plan_input(_table(saved, table))


def _table(saved: str, table: str) -> IptablesTable:
    return parse_save(saved).get(table, IptablesTable())


async def _change(program: str, table: str, plan_input: Callable[[IptablesTable], str]) -> None:
    """Read, plan and commit; again if another program changed the table in between."""
    wait = () if program == "ebtables" else ("--wait", str(LOCK_S))
    for attempt in range(1, ATTEMPTS + 1):
        saved = await run_ok([f"{program}-save", "-t", table])
        restore_input = await asyncio.to_thread(_planned, saved, table, plan_input)
        if not restore_input:
            return
        try:
            await run_ok([f"{program}-restore", "--noflush", *wait], stdin=restore_input)
        except VirError as error:
            if attempt == ATTEMPTS or error.code is ErrorCode.OPERATION_TIMEOUT:
                raise
            log.info("%s has changed meanwhile: %s", program, error)
        else:
            return


def _warn_of_bypass(family: Family, taps: Sequence[str]) -> None:
    try:
        on = CALLS[family].read_text().strip() == "1"
    except OSError:
        on = False
    if not on:
        log.warning(
            "packets of %s pass by their rules of %s: set %s to 1 (module br_netfilter)",
            ", ".join(taps),
            PROGRAM[family],
            CALLS[family],
        )
