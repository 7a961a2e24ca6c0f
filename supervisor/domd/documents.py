"""From a client's XML to a definition: read, completed by the emulator's facts, checked.

Owns: that order. May touch: hostd, for facts. May not touch: files, the registry.
"""

from __future__ import annotations

from typing import Final

from conf.domain import Domain, format_domain, parse_domain
from conf.domain.defaults import complete
from conf.emulator import EmulatorFacts
from ipc import Node
from supervisor.domd.entry import Definition
from supervisor.messages.hostd import Probe

PROBE_S: Final = 15.0
FACTS: Final = 16  # emulators whose facts are remembered


class Documents:
    """Makes definitions."""

    def __init__(self, node: Node) -> None:
        """Ask hostd over this bus."""
        self._hostd = node.link("hostd")
        self._facts: dict[tuple[str, str], EmulatorFacts] = {}

    async def define(self, xml: str) -> Definition:
        """Make a definition of a client's document.

        Raises:
            ConfError, VirError: the document, or what it asks for, cannot be.
        """
        domain = parse_domain(xml)
        completed = complete(domain, await self._facts_for(domain))
        return Definition(format_domain(completed, secure=True), completed)

    def forget_facts(self) -> None:
        """Ask again for what emulators can do: one may have been upgraded."""
        self._facts.clear()

    async def _facts_for(self, domain: Domain) -> EmulatorFacts:
        arch = domain.os.type.arch if domain.os.type and domain.os.type.arch else ""
        key = (domain.devices.emulator or "", arch)
        known = self._facts.get(key)
        if known is None:
            probed = await self._hostd.call(Probe(binary=key[0], arch=key[1]), timeout_s=PROBE_S)
            if len(self._facts) >= FACTS:
                self._facts.clear()
            known = self._facts[key] = probed.facts
        return known
