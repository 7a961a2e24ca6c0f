"""The executor for iptables and ip6tables, whichever of their two kernels' sides the host uses.

Owns: reading rules by iptables-save, and committing changes by iptables-restore --noflush.
May touch: chains named LIBVIRT_… and the jumps to them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from rpc.errors import ErrorCode, VirError
from supervisor.netd.firewall.facts import NetworkFacts
from supervisor.netd.firewall.rules import Family, Rule, plan
from supervisor.netd.firewall.running import LOCK_S, run_ok
from supervisor.netd.firewall.saved import Table, plan_install, plan_removal, read_saved

PROGRAM: Final = {Family.V4: "iptables", Family.V6: "ip6tables"}
ATTEMPTS: Final = 3  # of a change that another program's change came before

log = logging.getLogger(__name__)


class Iptables:
    """Puts networks' rules in and takes them out."""

    async def install(self, facts: NetworkFacts) -> None:
        """Have exactly a network's rules, each once and in order; what stands so stays.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT: nothing of the network is left in.
        """
        rules = plan(facts)
        try:
            for family in Family:
                await self._install([rule for rule in rules if rule.family is family], family)
        except BaseException:
            await self._give_up(facts)
            raise

    async def refresh(self, facts: NetworkFacts) -> None:
        """As `install`, for a network that runs: on failure what stands stays.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT.
        """
        rules = plan(facts)
        for family in Family:
            await self._install([rule for rule in rules if rule.family is family], family)

    async def remove(self, facts: NetworkFacts) -> None:
        """Take out all of a network's rules; those that are gone already are no error.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT.
        """
        rules = plan(facts)
        for family in Family:
            own = [rule for rule in rules if rule.family is family]
            if own or family is Family.V4:
                await self._change(family, lambda saved, own=own: plan_removal(saved, own, facts.bridge))

    async def _install(self, rules: Sequence[Rule], family: Family) -> None:
        if not rules:
            return
        sure = [rule for rule in rules if not rule.optional]
        await self._change(family, lambda saved: plan_install(saved, sure, ()))
        if len(sure) < len(rules):
            rest = [rule for rule in rules if rule.optional]
            await self._try(family, rest)
