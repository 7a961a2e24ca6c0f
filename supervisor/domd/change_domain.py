"""DomainChanger.change_domain: applies one change to a domain's definition and its running guest.

Owns: the order of a change. May touch: definitions; running guests, through their workers.

The definition is edited and validated in memory, the worker changes the guest, and only then is the
definition written: a live change that the guest refuses leaves the definition as it was.
Source: libvirt 9.0, qemuDomainAttachDeviceLiveAndConfig has the same order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from conf.domain import Domain, parse_domain, reformat_domain
from conf.domain.resources import copy_for_edit
from ipc import Request
from rpc.values import Domain as DomainId
from supervisor.domd.definition_builder import DefinitionBuilder
from supervisor.domd.definitions import DomainDefinitions
from supervisor.domd.domain import Definition, DomainObject
from supervisor.domd.registry import DomainRegistry
from supervisor.domd.running_domains import RunningDomains
from supervisor.messages.worker import DomainStatus
from supervisor.objects.impact import IMPACT_FLAGS, select_for_change
from supervisor.runtime.off_loop import off_loop


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainChange:
    """One change of a domain, as it applies to the definition and to the running guest."""

    name: str  # what the change lock's holder is called in errors
    edit: Callable[[Domain], object]  # edits a private copy of the definition, in place
    #: Makes the worker's request; it gets the running guest's own definition, not to be changed.
    live_request: Callable[[Definition], Request[DomainStatus]]
    #: False: the edit touches neither devices nor the machine, so no emulator has to be probed.
    revalidates: bool = True
    #: The fields of the definition that the edit changes; None: it may change any.
    fields: tuple[str, ...] | None = None
    size: int = 0  # characters of the client's document
    #: False: `live_request` does not read the running guest's definition, which can be large.
    reads_live: bool = True
    #: Refuses the change before it is planned; it gets the running guest's definition and the
    #: persistent one, each None where the change does not concern it.
    check: Callable[[Definition | None, Definition | None], None] | None = None


class DomainChanger:
    """Changes the domains of one driver."""

    def __init__(
        self,
        registry: DomainRegistry,
        definitions: DomainDefinitions,
        builder: DefinitionBuilder,
        domains: RunningDomains,
    ) -> None:
        self._registry = registry
        self._definitions = definitions
        self._builder = builder
        self._domains = domains

    async def change_domain(self, dom: DomainId, impact: int, change: DomainChange) -> DomainObject:
        """Apply a change to the running guest, the definition, or both.

        Args:
            dom: the domain as the client names it.
            impact: virDomainModificationImpact; neither bit means the current state alone.
            change: what to apply.

        Raises:
            VirError: NO_DOMAIN; OPERATION_INVALID: the domain is off, or transient; what the guest
                or the disk refuses. ConfError: the edit's result is invalid. Nothing has changed.
        """
        domain = self._registry.find(dom)
        async with domain.jobs.hold(change.name):
            selected = select_for_change(domain, impact & IMPACT_FLAGS)
            live, config = selected
            if change.check is not None:
                change.check(live, config)
            planned = await self._plan(config, change) if config is not None else None
            if live is not None:
                size = change.size + (len(live.xml) if change.reads_live else 0)
                request = await off_loop(size, lambda: change.live_request(live))
                await self._domains.run_change(domain, request)
            if planned is not None:
                await self._definitions.replace(domain, planned)
        return domain

    async def _plan(self, definition: Definition, change: DomainChange) -> Definition:
        size = len(definition.xml) + change.size

        def edit() -> Domain:
            if change.fields is not None:
                domain = copy_for_edit(definition.domain, change.fields)
            else:
                # Parsing again is the copy: it takes a third of the time of copy.deepcopy.
                domain = parse_domain(definition.xml)
            change.edit(domain)
            return domain

        domain = await off_loop(size, edit)
        if change.revalidates:
            return await self._builder.build(domain, size=size)
        fields = change.fields
        before, changed = (definition.parts, frozenset(fields)) if fields else ((), frozenset())
        text, parts = await off_loop(size, lambda: reformat_domain(domain, before, changed))
        edited = Definition(text, domain)
        edited.parts = parts
        edited.is_complete = definition.is_complete
        return edited
