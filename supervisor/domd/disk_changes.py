"""DiskChanges: has definitions follow the images of their guests' disks.

Owns: that every change a worker reports is in the definition before the worker forgets it, and
before the domain is started again. May touch: definitions; workers over the bus.
May not touch: images.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from copy import copy
from pathlib import Path

from conf.domain import Domain, format_domain
from ipc import BusError
from rpc.errors import VirError
from supervisor.domd.definitions import DomainDefinitions
from supervisor.domd.domain import Definition, DomainObject
from supervisor.domd.workers import Workers
from supervisor.messages.block import DiskChangesSaved
from supervisor.objects.disk_change import DiskChange, apply_changes
from supervisor.runtime.off_loop import off_loop

Follow = Callable[[Mapping[Path, str]], Awaitable[bool]]

log = logging.getLogger(__name__)


class DiskChanges:
    """The changes of one driver's domains."""

    def __init__(self, definitions: DomainDefinitions, workers: Workers) -> None:
        self._definitions = definitions
        self._workers = workers
        self._acknowledging: set[asyncio.Task[None]] = set()

    async def follow(self, domain: DomainObject) -> None:
        """Write what a domain's guest has changed; the caller holds its change lock.

        Raises:
            VirError: SYSTEM_ERROR: the definition is not written; the worker keeps the changes.
        """
        if not domain.disk_changes:
            return
        # Every report of the guest has them until the worker knows that they are written.
        async with _turn(domain):
            await self._follow(domain, {})

    @contextlib.asynccontextmanager
    async def following(self, domain: DomainObject) -> AsyncIterator[Follow]:
        """Let nobody else follow a domain's changes while the body makes one.

        The body gets what follows them, and writes other documents of the domain with the
        definition: a wait for the disk less. It says whether it has: not, where the definition
        does not change. The caller holds the domain's change lock.
        """
        async with _turn(domain):
            yield lambda beside: self._follow(domain, beside)

    async def _follow(self, domain: DomainObject, beside: Mapping[Path, str]) -> bool:
        """Write what a guest has changed; whether the other documents are written, too.

        Raises:
            VirError: as `follow`.
        """
        changes, written = domain.disk_changes, False
        if not changes:
            return False
        started_from = domain.source
        is_defined = domain.definition is started_from  # it was not redefined since
        if domain.definition is not None:
            changed = await followed(domain.definition, changes)
            if changed is not None:
                await self._definitions.replace(domain, changed, beside)
                written = True
                if is_defined and domain.source is started_from:
                    domain.source = changed
        if started_from is not None and domain.source is started_from:
            domain.source = await followed(started_from, changes) or started_from
        domain.disk_changes = [one for one in domain.disk_changes if one not in changes]
        if domain.is_active:
            # Nobody waits for it: until then the worker reports them again, and to follow them
            # twice changes nothing.
            task = asyncio.create_task(self._acknowledge(domain, changes[-1].number))
            self._acknowledging.add(task)
            task.add_done_callback(self._acknowledging.discard)
        return written

    async def _acknowledge(self, domain: DomainObject, number: int) -> None:
        try:
            await self._workers.call(domain, DiskChangesSaved(up_to=number))
        except (BusError, VirError) as error:
            log.info("the worker of %s keeps changes of disks: %s", domain.name, error)


def _turn(domain: DomainObject) -> asyncio.Lock:
    domain.following = domain.following or asyncio.Lock()
    return domain.following


async def followed(definition: Definition, changes: list[DiskChange]) -> Definition | None:
    """Return a definition with the changes; None: it has them, or they are not about its disks."""
    return await off_loop(len(definition.xml), lambda: follow(definition, changes))


def follow(definition: Definition, changes: list[DiskChange]) -> Definition | None:
    """Return a definition with the changes; None: as `followed`."""
    edited = _with_own_disks(definition.domain)
    if not apply_changes(edited, changes):
        return None
    new = Definition(format_domain(edited, secure=True), edited)
    new.is_complete = definition.is_complete
    return new


def _with_own_disks(domain: Domain) -> Domain:
    """Copy a domain; what a change of chains leaves alone is shared with it."""
    edited = copy(domain)
    edited.devices = copy(domain.devices)
    edited.devices.disks = [copy(disk) for disk in domain.devices.disks]
    return edited
