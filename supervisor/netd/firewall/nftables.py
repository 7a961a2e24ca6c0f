"""The executor for nftables: one commit a change, by `nft -j -f -`.

Owns: the table `inet libvirt_network`. May touch: nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from supervisor.netd.firewall.commands import run_ok
from supervisor.netd.firewall.network_facts import NetworkFacts
from supervisor.netd.firewall.nft_plan import TABLE, Json, plan_install, plan_removal

__all__ = ["TABLE", "Nftables"]

ARGV: Final = ("nft", "-j", "-f", "-")


class Nftables:
    """Puts networks' rules in and takes them out. A commit that fails changes nothing."""

    async def install(self, facts: NetworkFacts) -> None:
        """Have exactly a network's rules.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT.
        """
        await _commit(plan_install(facts))

    async def refresh(self, facts: NetworkFacts) -> None:
        """As `install`: its chains are replaced in one commit.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT.
        """
        await _commit(plan_install(facts))

    async def incomplete(self, networks: Sequence[NetworkFacts]) -> list[NetworkFacts]:
        """All of them: to replace a network's chains is as quick as to look at them."""
        return list(networks)

    async def remove(self, facts: NetworkFacts) -> None:
        """Take out all of a network's rules.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT.
        """
        await _commit(plan_removal(facts.bridge))


async def _commit(commands: Sequence[Json]) -> None:
    await run_ok(ARGV, stdin=json.dumps({"nftables": list(commands)}))
