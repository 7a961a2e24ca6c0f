"""Definitions, on disk and in memory: the disk first, then memory, then who listens.

Owns: the order of those, and that definitions are changed one after the other.
May touch: the store, in a thread; the registry. May not touch: guests.

Each change is done to its end, even when its caller is gone: memory says what the disk says. (A
disk that takes a change only after its deadline is believed at the next start.)
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Final
from uuid import UUID

from rpc.enums import (
    DomainEventDefinedDetailType,
    DomainEventType,
    DomainEventUndefinedDetailType,
)
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.domd.entry import Definition, Entry
from supervisor.domd.events import Publisher
from supervisor.domd.registry import Registry
from supervisor.domd.store import Store
from supervisor.domd.words import invalid
from supervisor.finishing import finish
from supervisor.jobs import Job

DISK_S: Final = 20.0  # for the disk to take a change

DEFINED: Final = DomainEventType.DEFINED
UNDEFINED: Final = DomainEventType.UNDEFINED


class Definitions:
    """The definitions of one daemon."""

    def __init__(self, registry: Registry, store: Store, publisher: Publisher) -> None:
        """Change these."""
        self._registry = registry
        self._store = store
        self._publisher = publisher
        self._turn = Job("definitions")

    async def define(self, definition: Definition) -> Entry:
        """Give a domain this definition, a new one if need be.

        Raises:
            VirError: OPERATION_FAILED when its name or UUID is another's; SYSTEM_ERROR.
        """
        return await finish(self._define(definition))

    async def claim(self, definition: Definition) -> Entry:
        """The domain that a definition is of; a new one has its name and UUID from now on.

        Raises:
            VirError: OPERATION_FAILED when its name or UUID is another's.
        """
        async with self._turn.hold("create"):
            entry = self._claimed(definition)
            self._registry.add(entry)
            return entry

    async def undefine(self, entry: Entry, part: Callable[[], None]) -> None:
        """Forget a definition; the domain's job is the caller's.

        Args:
            entry: the domain.
            part: parts with what goes with the definition; what it raises keeps the definition.

        Raises:
            VirError: SYSTEM_ERROR; what `part` raises.
        """
        await finish(self._undefine(entry, part))

    async def rename(self, entry: Entry, definition: Definition) -> None:
        """Give a domain that is off another name, its new definition's; the job is the caller's.

        Raises:
            VirError: OPERATION_INVALID when the name is taken; SYSTEM_ERROR.
        """
        await finish(self._rename(entry, definition))

    async def replace(self, entry: Entry, definition: Definition) -> None:
        """Give a defined domain a definition that differs only in what no event tells.

        Raises:
            VirError: SYSTEM_ERROR.
        """
        await finish(self._replace(entry, definition))

    async def set_autostart(self, entry: Entry, *, on: bool) -> None:
        """Have a domain start with the host, or not; the domain's job is the caller's.

        Raises:
            VirError: SYSTEM_ERROR.
        """
        await finish(self._set_autostart(entry, on=on))

    def _claimed(self, definition: Definition) -> Entry:
        domain = definition.domain
        uuid = UUID(str(domain.uuid)).bytes
        return self._registry.claim(domain.name, uuid) or Entry(name=domain.name, uuid=uuid)

    async def _define(self, definition: Definition) -> Entry:
        async with self._turn.hold("define"):
            entry = self._claimed(definition)
            await self._write("define", entry, definition)
            details = DomainEventDefinedDetailType
            detail = details.UPDATED if entry.definition is not None else details.ADDED
            self._publisher.stale()
            entry.definition = definition
            self._registry.add(entry)
            self._publisher.lifecycle(entry, DEFINED, detail)
            return entry

    async def _undefine(self, entry: Entry, part: Callable[[], None]) -> None:
        def remove() -> None:
            part()
            self._store.remove(entry.name)

        async with self._turn.hold("undefine"):
            with refused("undefine", entry):
                async with asyncio.timeout(DISK_S):
                    await asyncio.to_thread(remove)
            self._publisher.stale()
            entry.definition, entry.autostart = None, False
            if not entry.is_active:
                self._registry.remove(entry)
            detail = DomainEventUndefinedDetailType.REMOVED
            self._publisher.lifecycle(entry, UNDEFINED, detail)

    async def _rename(self, entry: Entry, definition: Definition) -> None:
        new = definition.domain.name
        async with self._turn.hold("rename"):
            if self._registry.is_taken(new):
                raise invalid(f"domain with name '{new}' already exists")
            with refused("rename", entry):
                async with asyncio.timeout(DISK_S):
                    await asyncio.to_thread(self._store.rename, entry.name, new, definition.xml)
            former = Entry(name=entry.name, uuid=entry.uuid)
            self._publisher.stale()
            entry.definition = definition
            self._registry.rename(entry, new)
            undefined = DomainEventUndefinedDetailType.RENAMED
            self._publisher.lifecycle(former, UNDEFINED, undefined)
            self._publisher.lifecycle(entry, DEFINED, DomainEventDefinedDetailType.RENAMED)

    async def _replace(self, entry: Entry, definition: Definition) -> None:
        async with self._turn.hold("change"):
            await self._write("change", entry, definition)
            self._publisher.stale()
            entry.definition = definition

    async def _set_autostart(self, entry: Entry, *, on: bool) -> None:
        async with self._turn.hold("autostart"):
            with refused("change the autostart of", entry):
                async with asyncio.timeout(DISK_S):
                    await asyncio.to_thread(self._store.set_autostart, entry.name, on=on)
            self._publisher.stale()
            entry.autostart = on

    async def _write(self, word: str, entry: Entry, definition: Definition) -> None:
        with refused(word, entry):
            async with asyncio.timeout(DISK_S):
                await asyncio.to_thread(self._store.save, entry.name, definition.xml)


@contextlib.contextmanager
def refused(word: str, entry: Entry) -> Iterator[None]:
    """Make the disk's errors the client's."""
    doing = f"{word} domain '{entry.name}'"
    try:
        yield
    except TimeoutError as problem:
        detail = f"cannot {doing}: the disk did not take it in {DISK_S:.0f} s"
        raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.QEMU) from problem
    except OSError as problem:
        detail = f"cannot {doing}: {problem}"
        raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.QEMU) from problem
