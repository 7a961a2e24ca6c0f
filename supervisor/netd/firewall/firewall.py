"""The firewall rules of networks, independent of the backend.

Owns: the order of changes: one at a time. May touch: rules, through its backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from rpc.errors import ErrorDomain, VirError
from supervisor.dispatch.service_errors import ServiceErrors
from supervisor.netd.firewall.network_facts import NetworkFacts
from supervisor.objects.change_lock import ChangeLock

CHANGE_S: Final = 60.0  # iptables waits for /run/xtables.lock, and 100 networks may be queued


class Executor(Protocol):
    """A firewall backend; every operation is idempotent."""

    async def install(self, facts: NetworkFacts) -> None:
        """Install exactly the network's rules; on failure none of them remain."""

    async def refresh(self, facts: NetworkFacts) -> None:
        """Install exactly the network's rules; on failure the previous ones remain."""

    async def incomplete(self, networks: Sequence[NetworkFacts]) -> list[NetworkFacts]:
        """Return the networks whose rules are missing or changed."""

    async def remove(self, facts: NetworkFacts) -> None:
        """Delete all of the network's rules."""


class Firewall:
    """The firewall; changes are serialized."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._lock = ChangeLock("the packet filter", ServiceErrors(ErrorDomain.FIREWALL))

    async def install(self, facts: NetworkFacts) -> None:
        """Install the rules of a network that starts; on failure none of them remain.

        Raises:
            VirError: INTERNAL_ERROR: the kernel or the program refused; OPERATION_TIMEOUT.
        """
        async with self._lock.hold("install", CHANGE_S):
            await self._executor.install(facts)

    async def remove(self, facts: NetworkFacts) -> None:
        """Delete the rules of a network; missing rules are no error.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT.
        """
        async with self._lock.hold("remove", CHANGE_S):
            await self._executor.remove(facts)

    async def refresh(self, *networks: NetworkFacts) -> None:
        """Repair the rules of running networks: after a restart of netd, SIGHUP, net-update.

        Complete rules are not touched; others are replaced in one commit, without a gap.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT: of the first that failed, after all.
        """
        problems = []
        for facts in await self._incomplete(networks):
            try:
                async with self._lock.hold("refresh", CHANGE_S):
                    await self._executor.refresh(facts)
            except VirError as error:
                problems.append(error)
        if problems:
            raise problems[0]

    async def _incomplete(self, networks: Sequence[NetworkFacts]) -> Sequence[NetworkFacts]:
        """Find the networks that need a repair; a single one is replaced without a check."""
        if len(networks) < 2:
            return networks
        async with self._lock.hold("check", CHANGE_S):
            return await self._executor.incomplete(networks)
