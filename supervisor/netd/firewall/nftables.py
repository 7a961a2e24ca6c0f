"""The nftables backend: each change is one commit of `nft -j -f -`.

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
    """The nftables backend. A commit that fails changes nothing."""

    async def install(self, facts: NetworkFacts) -> None:
        """Install exactly a network's rules.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT.
        """
        await _commit(plan_install(facts))

    async def refresh(self, facts: NetworkFacts) -> None:
        """Replace the network's chains in one commit.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT.
        """
        await _commit(plan_install(facts))

    async def incomplete(self, networks: Sequence[NetworkFacts]) -> list[NetworkFacts]:
        """Return all networks: replacing their chains is as fast as checking them."""
        return list(networks)

    async def remove(self, facts: NetworkFacts) -> None:
        """Delete all of a network's rules.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT.
        """
        await _commit(plan_removal(facts.bridge))


async def _commit(commands: Sequence[Json]) -> None:
    await run_ok(ARGV, stdin=json.dumps({"nftables": list(commands)}))
