"""How documents of QEMU's guests and of containers are completed.

Owns: which facts that takes, and remembering them. May touch: hostd, for facts of emulators.
May not touch: files, the registry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from conf.domain import Domain
from conf.domain.defaults import complete
from conf.domain.lxc.defaults import complete_container
from conf.emulator import EmulatorFacts
from conf.settings import QemuConfig
from ipc import Node
from supervisor.messages.hostd import ProbeEmulator

FACTS: Final = 16  # emulators whose facts are remembered


class GuestCompletion:
    """Completes documents by what their emulators can do."""

    def __init__(self, node: Node, config: Callable[[], QemuConfig]) -> None:
        """Ask hostd over this bus.

        Args:
            node: this process's place on it.
            config: gives the settings that are in force.
        """
        self._hostd = node.link("hostd")
        self._config = config
        self._facts: dict[tuple[str, str], EmulatorFacts] = {}

    async def complete(self, domain: Domain) -> Domain:
        """The domain with everything filled in.

        Raises:
            ConfError, VirError: what it asks for cannot be.
        """
        facts = await self._facts_for(domain)
        return complete(domain, facts, spice_tls=self._config().spice_tls)

    def forget(self) -> None:
        """Ask again for what emulators can do: one may have been upgraded."""
        self._facts.clear()

    async def _facts_for(self, domain: Domain) -> EmulatorFacts:
        arch = domain.os.type.arch if domain.os.type and domain.os.type.arch else ""
        key = (domain.devices.emulator or "", arch)
        known = self._facts.get(key)
        if known is None:
            probed = await self._hostd.call(ProbeEmulator(binary=key[0], arch=key[1]))
            if len(self._facts) >= FACTS:
                self._facts.clear()
            known = self._facts[key] = probed.facts
        return known


class ContainerCompletion:
    """Completes documents of containers, which need the host's architecture alone."""

    def __init__(self, architecture: str) -> None:
        """Complete for a host of this architecture."""
        self._architecture = architecture

    async def complete(self, domain: Domain) -> Domain:
        """The container with everything filled in.

        Raises:
            ConfError: what it asks for cannot be.
        """
        return complete_container(domain, self._architecture)

    def forget(self) -> None:
        """Nothing is remembered."""
