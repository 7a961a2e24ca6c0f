"""The iptables and ip6tables backend.

Owns: the order of a change: read, plan, commit; and the tables as iptables-save shows and
iptables-restore --noflush changes them (`supervisor.netd.firewall.xtables` has those of libiptc).
May touch: chains named LIBVIRT_… and the jumps to them.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Final, Protocol

from rpc.errors import ErrorCode, VirError
from supervisor.netd.firewall.commands import LOCK_S, run_ok
from supervisor.netd.firewall.iptables_save import (
    IptablesTable,
    TableChange,
    parse_save,
    plan_install,
    plan_removal,
)
from supervisor.netd.firewall.network_facts import NetworkFacts
from supervisor.netd.firewall.rules import Family, FirewallRule, plan

PROGRAM: Final = {Family.V4: "iptables", Family.V6: "ip6tables"}
ATTEMPTS: Final = 3  # of a change that another program's change came before

log = logging.getLogger(__name__)


class Session(Protocol):
    """One change of the tables of a family."""

    async def read(self, tables: Sequence[str]) -> dict[str, IptablesTable]:
        """Read our chains; these tables even where no program has used them yet."""

    async def commit(self, changes: Sequence[TableChange]) -> None:
        """Change tables, each in one commit."""


class Tables(Protocol):
    """The way to the kernel's tables."""

    def open(self, family: Family) -> AbstractAsyncContextManager[Session]:
        """Begin a change."""


class RestoreTables:
    """iptables-save and iptables-restore, of nf_tables or the legacy ones."""

    @asynccontextmanager
    async def open(self, family: Family) -> AsyncIterator[Session]:
        """Begin a change; the kernel or the programs see where another came in between."""
        yield RestoreSession(family)


class RestoreSession:
    """One change by iptables-restore."""

    def __init__(self, family: Family) -> None:
        self._program = PROGRAM[family]

    async def read(self, tables: Sequence[str]) -> dict[str, IptablesTable]:
        """Read all tables that a program has used.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT.
        """
        return parse_save(await run_ok([f"{self._program}-save"]))

    async def commit(self, changes: Sequence[TableChange]) -> None:
        """Change tables, each in one commit.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT: the tables before may have changed.
        """
        if changes:
            argv = [f"{self._program}-restore", "--noflush", "--wait", str(LOCK_S)]
            await run_ok(argv, stdin="".join(change.text() for change in changes))


class Iptables:
    """The iptables backend."""

    def __init__(self, tables: Tables | None = None) -> None:
        self._tables: Tables = tables or RestoreTables()

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
            await self._change(family, rules, partial(plan_install, rules=rules, facts=facts))

    async def incomplete(self, networks: Sequence[NetworkFacts]) -> list[NetworkFacts]:
        """Return the networks whose rules are missing or changed, by one iptables-save a family.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT.
        """
        split = [(facts, _families(facts)) for facts in networks]
        saved = {}
        for family in {family for _, families in split for family, _ in families}:
            async with self._tables.open(family) as session:
                saved[family] = await session.read([])
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
            await self._change(family, rules, partial(plan_removal, rules=rules, facts=facts))

    async def _change(
        self,
        family: Family,
        rules: Sequence[FirewallRule],
        plan_changes: Callable[[dict[str, IptablesTable]], list[TableChange]],
    ) -> None:
        """Read, plan and commit; again if another program changed the table in between."""
        names = sorted({rule.table for rule in rules})
        async with self._tables.open(family) as session:
            for attempt in range(1, ATTEMPTS + 1):
                changes = plan_changes(await session.read(names))
                try:
                    await session.commit([change for change in changes if not change.optional])
                    break
                except VirError as error:
                    if attempt == ATTEMPTS or error.code is ErrorCode.OPERATION_TIMEOUT:
                        raise
                    log.info("%s has changed meanwhile: %s", PROGRAM[family], error)
            try:
                await session.commit([change for change in changes if change.optional])
            except VirError as error:
                log.warning("a rule that the kernel may do without is left out: %s", error)

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
