"""From a client's XML to a definition: read, completed as its driver does, checked.

Owns: that order. May touch: what completes documents. May not touch: files, the registry.
"""

from __future__ import annotations

from typing import Protocol

from conf.domain import Domain, format_domain, parse_domain
from supervisor.domd.domain import Definition


class Completion(Protocol):
    """How a driver fills in what documents leave open."""

    async def complete(self, domain: Domain) -> Domain:
        """The domain with everything filled in.

        Raises:
            ConfError, VirError: what it asks for cannot be.
        """

    def forget(self) -> None:
        """Ask anew for what the host can do: it may have changed."""


class DefinitionBuilder:
    """Makes definitions."""

    def __init__(self, completion: Completion) -> None:
        """Have documents completed by this."""
        self._completion = completion

    async def build(self, xml: str) -> Definition:
        """Make a definition of a client's document.

        Raises:
            ConfError, VirError: the document, or what it asks for, cannot be.
        """
        completed = await self._completion.complete(parse_domain(xml))
        return Definition(format_domain(completed, secure=True), completed)

    async def complete(self, definition: Definition) -> Definition:
        """A definition that has been read from a file, with all that its text left open.

        Raises:
            ConfError, VirError: it cannot be (any more).
        """
        return definition if definition.is_complete else await self.build(definition.xml)

    def forget_facts(self) -> None:
        """Ask again for what the host can do: an emulator may have been upgraded."""
        self._completion.forget()
