"""The iptables and ip6tables backend; works with both iptables-nft and iptables-legacy.

Owns: reading rules by iptables-save, and committing changes by iptables-restore --noflush.
May touch: chains named LIBVIRT_… and the jumps to them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from rpc.errors import ErrorCode, VirError
from supervisor.netd.firewall.commands import LOCK_S, run_ok
from supervisor.netd.firewall.iptables_save import (
    IptablesTable,
    RestoreInput,
    parse_save,
    plan_install,
    plan_removal,
)
from supervisor.netd.firewall.network_facts import NetworkFacts
from supervisor.netd.firewall.rules import Family, FirewallRule, plan

PROGRAM: Final = {Family.V4: "iptables", Family.V6: "ip6tables"}
ATTEMPTS: Final = 3  # of a change that another program's change came before

log = logging.getLogger(__name__)


class Iptables:
    """The iptables backend."""

    async def install(self, facts: NetworkFacts) -> None:
        """Install exactly a network's rules, in order; rules already in place are not touched.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT: nothing of the network is left in.
        """
        try:
            await self.refresh(facts)
        except BaseException:
            await self._give_up(facts)
            raise

    async def refresh(self, facts: NetworkFacts) -> None:
        """Reinstall the rules of a running network; on failure the previous ones remain.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT.
        """
        for family, rules in _families(facts):
            await _change(family, partial(plan_install, rules=rules, facts=facts))

    async def incomplete(self, networks: Sequence[NetworkFacts]) -> list[NetworkFacts]:
        """Return the networks whose rules are missing or changed, by one iptables-save a family.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT.
        """
        split = [(facts, _families(facts)) for facts in networks]
        saved = {
            family: parse_save(await run_ok([f"{PROGRAM[family]}-save"]))
            for family in {family for _, families in split for family, _ in families}
        }
        return [
            facts
            for facts, families in split
            if any(
                not change.optional
                for family, rules in families
                for change in plan_install(saved[family], rules, facts)
            )
        ]

    async def remove(self, facts: NetworkFacts) -> None:
        """Delete a network's rules; missing rules are no error.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT.
        """
        for family, rules in _families(facts):
            await _change(family, partial(plan_removal, rules=rules, facts=facts))

    async def _give_up(self, facts: NetworkFacts) -> None:
        """Delete what a failed installation added; the caller reports the first error."""
        try:
            await self.remove(facts)
        except VirError as error:
            log.warning("rules of network '%s' may be left in: %s", facts.name, error)


def _families(facts: NetworkFacts) -> list[tuple[Family, list[FirewallRule]]]:
    """Group a network's rules by family; families without rules are left out."""
    rules = plan(facts)
    split = [(family, [rule for rule in rules if rule.family is family]) for family in Family]
    return [(family, family_rules) for family, family_rules in split if family_rules]


async def _change(
    family: Family, plan_changes: Callable[[dict[str, IptablesTable]], list[RestoreInput]]
) -> None:
    """Read, plan and commit; again if another program changed the table in between."""
    for attempt in range(1, ATTEMPTS + 1):
        saved = parse_save(await run_ok([f"{PROGRAM[family]}-save"]))
        changes = plan_changes(saved)
        try:
            await _restore(family, [change for change in changes if not change.optional])
            break
        except VirError as error:
            if attempt == ATTEMPTS or error.code is ErrorCode.OPERATION_TIMEOUT:
                raise
            log.info("%s has changed meanwhile: %s", PROGRAM[family], error)
    try:
        await _restore(family, [change for change in changes if change.optional])
    except VirError as error:
        log.warning("a rule that the kernel may do without is left out: %s", error)


async def _restore(family: Family, changes: Sequence[RestoreInput]) -> None:
    if not changes:
        return
    argv = [f"{PROGRAM[family]}-restore", "--noflush", "--wait", str(LOCK_S)]
    await run_ok(argv, stdin="".join(change.text() for change in changes))
