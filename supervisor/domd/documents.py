"""From a client's XML to a definition: read, completed by the emulator's facts, checked.

Owns: that order. May touch: hostd, for facts. May not touch: files, the registry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from conf.domain import Domain, format_domain, parse_domain
from conf.domain.defaults import complete
from conf.emulator import EmulatorFacts
from conf.settings import QemuConfig
from ipc import Node
from supervisor.domd.entry import Definition
from supervisor.messages.hostd import Probe

PROBE_S: Final = 15.0
FACTS: Final = 16  # emulators whose facts are remembered


class Documents:
    """Makes definitions."""

    def __init__(self, node: Node, config: Callable[[], QemuConfig]) -> None:
        """Ask hostd over this bus.

        Args:
            node: this process's place on it.
            config: gives the settings that are in force.
        """
        self._hostd = node.link("hostd")
        self._config = config
        self._facts: dict[tuple[str, str], EmulatorFacts] = {}

    async def define(self, xml: str) -> Definition:
        """Make a definition of a client's document.

        Raises:
            ConfError, VirError: the document, or what it asks for, cannot be.
        """
        domain = parse_domain(xml)
        facts = await self._facts_for(domain)
        completed = complete(domain, facts, spice_tls=self._config().spice_tls)
        return Definition(format_domain(completed, secure=True), completed)

    async def complete(self, definition: Definition) -> Definition:
        """A definition that has been read from a file, with all that its text left open.

        Raises:
            ConfError, VirError: it cannot be (any more).
        """
        return definition if definition.is_complete else await self.define(definition.xml)

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
