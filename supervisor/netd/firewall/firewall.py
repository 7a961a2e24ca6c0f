"""The packet filter as the rest of netd sees it.

Owns: the order of changes: one at a time. May touch: what its executor may.
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
    """Puts rules in and takes them out; each verb can be repeated."""

    async def install(self, facts: NetworkFacts) -> None:
        """Have exactly the network's rules; on failure, none of them."""

    async def refresh(self, facts: NetworkFacts) -> None:
        """Have exactly the network's rules; on failure, what there was."""

    async def incomplete(self, networks: Sequence[NetworkFacts]) -> list[NetworkFacts]:
        """Those networks whose rules do not all stand as they should."""

    async def remove(self, facts: NetworkFacts) -> None:
        """Have none of the network's rules."""


class Firewall:
    """Networks' rules."""

    def __init__(self, executor: Executor) -> None:
        """Change rules by an executor."""
        self._executor = executor
        self._lock = ChangeLock("the packet filter", ServiceErrors(ErrorDomain.FIREWALL))

    async def install(self, facts: NetworkFacts) -> None:
        """Put in what a network that starts needs; on failure nothing of it stays.

        Raises:
            VirError: INTERNAL_ERROR: the kernel or the program refused; OPERATION_TIMEOUT.
        """
        async with self._lock.hold("install", CHANGE_S):
            await self._executor.install(facts)

    async def remove(self, facts: NetworkFacts) -> None:
        """Take out what a network that ends had; what is gone already is no error.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT.
        """
        async with self._lock.hold("remove", CHANGE_S):
            await self._executor.remove(facts)

    async def refresh(self, *networks: NetworkFacts) -> None:
        """Repair what running networks lack: after netd's own restart, on SIGHUP, on net-update.

        What is complete is not touched; what is not is replaced in one commit, without a gap.

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
        """Which of several networks there is something to do for; one alone is not looked at."""
        if len(networks) < 2:
            return networks
        async with self._lock.hold("check", CHANGE_S):
            return await self._executor.incomplete(networks)
