"""Definitions, on disk and in memory: the disk first, then memory, then who listens.

Owns: the order of those, and that definitions of one kind are changed one after the other.
May touch: the store, in a thread; the registry. May not touch: what runs.

Each change is done to its end, even when its caller is gone: memory says what the disk says. (A
disk that takes a change only after its deadline is believed at the next start.)
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Final, Generic, Protocol, TypeVar

from supervisor.objects.change_lock import ChangeLock
from supervisor.objects.definition_files import DefinitionFiles
from supervisor.objects.object_type import ObjectType
from supervisor.objects.registry import RegisteredObject, Registry
from supervisor.runtime.shield import run_to_completion

DISK_S: Final = 20.0  # for the disk to take a change

D = TypeVar("D")


def _no_cleanup() -> None:
    """Part with nothing."""


class Defined(RegisteredObject, Protocol):
    """What is kept of a thing that may be defined."""

    autostart: bool

    @property
    def is_persistent(self) -> bool:
        """Whether it has a definition."""

    @property
    def is_active(self) -> bool:
        """Whether it runs, and is there even without a definition."""


E = TypeVar("E", bound=Defined)


class Definitions(ABC, Generic[E, D]):
    """The definitions of one kind."""

    def __init__(self, registry: Registry[E], store: DefinitionFiles) -> None:
        """Change these."""
        self._registry = registry
        self._store = store
        self._turn = ChangeLock("definitions", registry.errors)

    @abstractmethod
    def object_for(self, document: D) -> E:
        """The thing that a document is of, perhaps a new one.

        Raises:
            VirError: OPERATION_FAILED when its name, UUID or the like is another's.
        """

    @abstractmethod
    def text(self, document: D) -> str:
        """A document as it is written to the disk."""

    @abstractmethod
    def set_definition(self, entry: E, document: D | None) -> None:
        """Have a thing this definition in memory."""

    @abstractmethod
    def invalidate(self) -> None:
        """What was answered before may not hold any more."""

    @abstractmethod
    def publish_defined(self, entry: E, *, redefined: bool) -> None:
        """Tell clients that one was defined, which had a definition before or not."""

    @abstractmethod
    def publish_undefined(self, entry: E) -> None:
        """Tell clients that one was undefined."""

    async def define(self, document: D) -> E:
        """Give a thing this definition, a new one if need be.

        Raises:
            VirError: as `object_for`; SYSTEM_ERROR.
        """
        return await run_to_completion(self._define(document))

    async def claim(self, document: D) -> E:
        """The thing that a document is of; a new one has its name and UUID from now on.

        Raises:
            VirError: as `object_for`.
        """
        async with self._turn.hold("create"):
            entry = self.object_for(document)
            self._registry.add(entry)
            return entry

    async def undefine(self, entry: E, before_remove: Callable[[], None] = _no_cleanup) -> None:
        """Forget a definition; the thing's job is the caller's.

        Args:
            entry: the thing.
            before_remove: removes what belongs to the definition; if it raises, nothing changes.

        Raises:
            VirError: SYSTEM_ERROR; what `before_remove` raises.
        """
        await run_to_completion(self._undefine(entry, before_remove))

    async def replace(self, entry: E, document: D) -> None:
        """Give a defined thing a changed definition; its job is the caller's.

        Raises:
            VirError: SYSTEM_ERROR.
        """
        await run_to_completion(self._replace(entry, document))

    async def set_autostart(self, entry: E, *, on: bool) -> None:
        """Have a thing start with the host, or not; its job is the caller's.

        Raises:
            VirError: SYSTEM_ERROR.
        """
        await run_to_completion(self._set_autostart(entry, on=on))

    async def _define(self, document: D) -> E:
        async with self._turn.hold("define"):
            entry = self.object_for(document)
            await self._save("define", entry, document)
            anew = entry.is_persistent
            self.invalidate()
            self.set_definition(entry, document)
            self._registry.add(entry)
            self.publish_defined(entry, redefined=anew)
            return entry

    async def _undefine(self, entry: E, before_remove: Callable[[], None]) -> None:
        def remove() -> None:
            before_remove()
            self._store.remove(entry.name)

        async with self._turn.hold("undefine"):
            await self._disk("undefine", entry, remove)
            self.invalidate()
            self.set_definition(entry, None)
            entry.autostart = False
            if not entry.is_active:
                self._registry.remove(entry)
            self.publish_undefined(entry)

    async def _replace(self, entry: E, document: D) -> None:
        async with self._turn.hold("change"):
            await self._save("change", entry, document)
            self.invalidate()
            self.set_definition(entry, document)

    async def _set_autostart(self, entry: E, *, on: bool) -> None:
        async with self._turn.hold("autostart"):
            word = "change the autostart of"
            await self._disk(word, entry, lambda: self._store.set_autostart(entry.name, on=on))
            self.invalidate()
            entry.autostart = on

    async def _save(self, word: str, entry: E, document: D) -> None:
        text = self.text(document)
        await self._disk(word, entry, lambda: self._store.save(entry.name, text))

    async def _disk(self, word: str, entry: E, work: Callable[[], None]) -> None:
        kind = self._registry.object_type
        with refused(kind, f"{word} {kind.name} '{entry.name}'"):
            async with asyncio.timeout(DISK_S):
                await asyncio.to_thread(work)


@contextlib.contextmanager
def refused(kind: ObjectType, doing: str) -> Iterator[None]:
    """Make the disk's errors the client's."""
    try:
        yield
    except TimeoutError as error:
        detail = f"cannot {doing}: the disk did not take it in {DISK_S:.0f} s"
        raise kind.errors.operation_timeout(detail) from error
    except OSError as error:
        raise kind.errors.system_error(f"cannot {doing}", error) from error
