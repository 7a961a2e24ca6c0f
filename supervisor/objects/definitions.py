"""Definitions: changes of an object type's definitions, on disk, in memory, and for clients.

Owns: the order of a change (disk, memory, event), and that changes of one type follow each other.
May touch: definition files, in a thread; the registry; the bus, to publish.
May not touch: runtime state.

Each change runs to its end, even when its caller is cancelled: memory agrees with the disk. (A disk
that takes a change only after its deadline is read at the next start.)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

from supervisor.dispatch.events import Publisher
from supervisor.objects.change_lock import ChangeLock
from supervisor.objects.definition_files import DefinitionFiles
from supervisor.objects.definition_xml import DefinitionXml
from supervisor.objects.object import LibvirtObject
from supervisor.objects.object_type import ObjectType
from supervisor.objects.registry import Registry
from supervisor.runtime.disk_thread import DiskThread
from supervisor.runtime.shield import finish, run_to_completion

DISK_S: Final = 20.0  # for the disk to take a change
SETTLE_S: Final = 1.0  # from a change to its file's being durable, too
#: VIR_*_EVENT_DEFINED and VIR_*_EVENT_UNDEFINED, the same for every type of object.
DEFINED: Final = 0
UNDEFINED: Final = 1

E = TypeVar("E", bound=LibvirtObject[Any, Any])
D = TypeVar("D")


log = logging.getLogger(__name__)


def _no_cleanup() -> None:
    """Do nothing; the default of `before_remove`."""


class Definitions(Generic[E, D]):
    """The definitions of one object type."""

    def __init__(
        self,
        registry: Registry[E],
        files: DefinitionFiles,
        xml: DefinitionXml[D],
        publisher: Publisher,
        *,
        check: Callable[[D], None] | None = None,
        redefined_detail: int = 0,
    ) -> None:
        """Change the objects of this registry.

        Args:
            registry: of the objects.
            files: their files.
            xml: of their definitions.
            publisher: of their events.
            check: raises for a definition that conflicts with another object than by its name.
            redefined_detail: of the event DEFINED where the object had a definition before.
        """
        self._registry = registry
        self._files = files
        self._xml = xml
        self._publisher = publisher
        self._check = check
        self._redefined_detail = redefined_detail
        self._turn = ChangeLock("definitions", registry.errors)
        self._settling: asyncio.Task[None] | None = None
        self._disk = DiskThread("definitions")

    async def define(self, definition: D) -> E:
        """Define an object, or give it another definition.

        Raises:
            VirError: OPERATION_FAILED: the name, the UUID or the like is another object's;
                SYSTEM_ERROR.
        """
        return await run_to_completion(self._define(definition))

    async def claim(self, definition: D) -> E:
        """Return the object of a definition that is to be started; a new one is added, unlisted.

        Raises:
            VirError: OPERATION_FAILED as `define`.
        """
        async with self._turn.hold("create"):
            obj = self._object_for(definition)
            self._registry.add(obj)
            return obj

    @contextlib.asynccontextmanager
    async def creating(self, definition: D) -> AsyncIterator[E]:
        """Hold the change lock of the object of a definition while the body starts it.

        An object that is neither defined nor active when the body fails is removed again.

        Raises:
            VirError: as `claim` and the change lock; what the body raises.
        """
        while True:
            obj = await self.claim(definition)
            async with obj.change_lock.hold("create"):
                # Who held the lock before may have failed, and removed the object.
                if self._registry.by_uuid(obj.uuid) is not obj:
                    continue
                try:
                    yield obj
                except BaseException:
                    if not obj.is_listed:
                        self._registry.remove(obj)
                    raise
                return

    async def undefine(self, obj: E, before_remove: Callable[[], None] = _no_cleanup) -> None:
        """Remove a definition; the caller holds the object's change lock.

        Args:
            obj: the object.
            before_remove: removes what belongs to the definition; if it raises, nothing changes.

        Raises:
            VirError: SYSTEM_ERROR; what `before_remove` raises.
        """
        await run_to_completion(self._undefine(obj, before_remove))

    async def replace(
        self, obj: E, definition: D, beside: Mapping[Path, str] = MappingProxyType({})
    ) -> None:
        """Change a definition without an event; the caller holds the object's change lock.

        Args:
            obj: the object.
            definition: its new one.
            beside: other documents of it, by their paths, which are written after it.

        Raises:
            VirError: SYSTEM_ERROR.
        """
        text = self._xml.format(definition)
        async with self._turn.hold("change"):
            # Only the wait is shielded: a task of its own for all of this would cost more.
            cancelled = await self._finish_on_disk(
                "change",
                obj,
                lambda: self._files.replace(obj.name, text, beside),
                self._files.free_former,
            )
            self.settle_soon()
            self._publisher.invalidate(settings=True)
            obj.definition = definition
        if cancelled:
            raise asyncio.CancelledError

    async def set_autostart(self, obj: E, *, on: bool) -> None:
        """Have an object start with the host, or not; the caller holds its change lock.

        Raises:
            VirError: SYSTEM_ERROR.
        """
        if obj.autostart == on:
            return
        await run_to_completion(self._set_autostart(obj, on=on))

    def _object_for(self, definition: D) -> E:
        if self._check is not None:
            self._check(definition)
        return self._registry.object_for(*self._xml.identity(definition))

    async def _define(self, definition: D) -> E:
        async with self._turn.hold("define"):
            obj = self._object_for(definition)
            await self._save("define", obj, definition)
            detail = self._redefined_detail if obj.is_persistent else 0
            obj.definition = definition
            self._registry.add(obj)
            self._publisher.lifecycle(obj, DEFINED, detail)
            return obj

    async def _undefine(self, obj: E, before_remove: Callable[[], None]) -> None:
        def remove() -> None:
            before_remove()
            self._files.remove(obj.name)

        async with self._turn.hold("undefine"):
            await self._change_disk("undefine", obj, remove)
            obj.definition = None
            obj.autostart = False
            if not obj.is_active:
                self._registry.remove(obj)
            self._publisher.lifecycle(obj, UNDEFINED)

    def settle_soon(self) -> None:
        """Have the files of changes be made durable a moment later."""
        if self._settling is None:
            loop = asyncio.get_running_loop()
            self._settling = loop.create_task(self._settle())

    async def _settle(self) -> None:
        """Have the disk take the files of changed definitions, a moment after the last change."""
        settled = False
        while not settled:
            await asyncio.sleep(SETTLE_S)
            try:
                settled = await asyncio.to_thread(self._files.settle)
            except OSError as error:
                log.error("changed definitions are not written yet: %s", error)
        self._settling = None

    async def _set_autostart(self, obj: E, *, on: bool) -> None:
        async with self._turn.hold("autostart"):
            operation = "change the autostart of"
            await self._change_disk(
                operation, obj, lambda: self._files.set_autostart(obj.name, on=on)
            )
            self._publisher.invalidate()
            obj.autostart = on

    async def _save(self, operation: str, obj: E, definition: D) -> None:
        text = self._xml.format(definition)
        await self._change_disk(operation, obj, lambda: self._files.save(obj.name, text))

    async def _change_disk(self, operation: str, obj: E, change: Callable[[], None]) -> None:
        object_type = self._registry.object_type
        with disk_errors(object_type, f"{operation} {object_type.name} '{obj.name}'"):
            await self._disk.start(change, deadline_s=DISK_S)

    async def _finish_on_disk(
        self,
        operation: str,
        obj: E,
        change: Callable[[], None],
        afterwards: Callable[[], None],
    ) -> bool:
        """Change the disk, to the end; return whether the caller was cancelled meanwhile."""
        object_type = self._registry.object_type
        with disk_errors(object_type, f"{operation} {object_type.name} '{obj.name}'"):
            done = self._disk.start(change, afterwards, deadline_s=DISK_S)
            cancelled = await finish(done)
            done.result()
        return cancelled


@contextlib.contextmanager
def disk_errors(object_type: ObjectType, operation: str) -> Iterator[None]:
    """Convert errors of the disk to the client's.

    Raises:
        VirError: SYSTEM_ERROR; OPERATION_TIMEOUT.
    """
    try:
        yield
    except TimeoutError as error:
        detail = f"cannot {operation}: the disk did not take it in {DISK_S:.0f} s"
        raise object_type.errors.operation_timeout(detail) from error
    except OSError as error:
        raise object_type.errors.system_error(f"cannot {operation}", error) from error
