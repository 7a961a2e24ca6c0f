"""Definitions of pools, on disk and in memory: the disk first, then memory, then who listens.

Owns: the order of those, and that definitions are changed one after the other.
May touch: the store, in a thread; the registry. May not touch: active pools.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Final
from uuid import UUID

from conf.storage import Pool, format_pool, same_source
from rpc.enums import StoragePoolEventLifecycleType as Lifecycle
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.finishing import finish
from supervisor.jobs import Job
from supervisor.stord.conflicts import refuse_conflict
from supervisor.stord.entry import Entry
from supervisor.stord.events import Publisher
from supervisor.stord.registry import Registry
from supervisor.stord.store import Store
from supervisor.stord.words import system_error

DISK_S: Final = 20.0  # for the disk to take a change


class Definitions:
    """The definitions of one daemon."""

    def __init__(self, registry: Registry, store: Store, publisher: Publisher) -> None:
        """Change these."""
        self._registry = registry
        self._store = store
        self._publisher = publisher
        self._turn = Job("definitions", ErrorDomain.STORAGE)

    async def define(self, pool: Pool) -> Entry:
        """Give a pool this definition, a new one if need be.

        Raises:
            VirError: OPERATION_FAILED when its name, UUID or storage is another's; SYSTEM_ERROR.
        """
        return await finish(self._define(pool))

    async def claim(self, pool: Pool) -> Entry:
        """The pool that a document is of; a new one has its name and UUID from now on.

        Raises:
            VirError: OPERATION_FAILED when its name, UUID or storage is another's.
        """
        async with self._turn.hold("create"):
            entry = self._claimed(pool)
            self._registry.add(entry)
            return entry

    async def undefine(self, entry: Entry) -> None:
        """Forget a definition; the pool's job is the caller's.

        Raises:
            VirError: SYSTEM_ERROR.
        """
        await finish(self._undefine(entry))

    async def replace(self, entry: Entry, pool: Pool) -> None:
        """Give a defined pool a changed definition; the pool's job is the caller's.

        Raises:
            VirError: SYSTEM_ERROR.
        """
        await finish(self._replace(entry, pool))

    async def set_autostart(self, entry: Entry, *, on: bool) -> None:
        """Have a pool start with the host, or not; the pool's job is the caller's.

        Raises:
            VirError: SYSTEM_ERROR.
        """
        await finish(self._set_autostart(entry, on=on))

    def _claimed(self, pool: Pool) -> Entry:
        refuse_conflict(pool, [entry.current for entry in self._registry])
        uuid = UUID(str(pool.uuid)).bytes
        entry = self._registry.claim(pool.name, uuid) or Entry(name=pool.name, uuid=uuid)
        self._refuse_conflict(pool, entry)
        return entry

    def _refuse_conflict(self, pool: Pool, entry: Entry) -> None:
        """Refuse a pool of storage that another pool is made of."""
        for other in self._registry:
            theirs = other.definition or (other.active.pool if other.active else None)
            if other is not entry and theirs is not None and same_source(pool, theirs):
                detail = f"Storage source conflict with pool: '{other.name}'"
                raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.STORAGE)

    async def _define(self, pool: Pool) -> Entry:
        async with self._turn.hold("define"):
            entry = self._claimed(pool)
            await self._save(entry, pool)
            self._publisher.stale()
            entry.definition = pool
            self._registry.add(entry)
            self._publisher.lifecycle(entry, Lifecycle.DEFINED)
            return entry

    async def _undefine(self, entry: Entry) -> None:
        async with self._turn.hold("undefine"):
            await self._disk("undefine", entry, lambda: self._store.remove(entry.name))
            self._publisher.stale()
            entry.definition, entry.autostart = None, False
            if entry.active is None:
                self._registry.remove(entry)
            self._publisher.lifecycle(entry, Lifecycle.UNDEFINED)

    async def _replace(self, entry: Entry, pool: Pool) -> None:
        async with self._turn.hold("change"):
            await self._save(entry, pool)
            self._publisher.stale()
            entry.definition = pool

    async def _set_autostart(self, entry: Entry, *, on: bool) -> None:
        async with self._turn.hold("autostart"):
            word = "change the autostart of"
            await self._disk(word, entry, lambda: self._store.set_autostart(entry.name, on=on))
            self._publisher.stale()
            entry.autostart = on

    async def _save(self, entry: Entry, pool: Pool) -> None:
        text = format_pool(pool)
        await self._disk("define", entry, lambda: self._store.save(entry.name, text))

    async def _disk(self, word: str, entry: Entry, work: Callable[[], None]) -> None:
        with refused(f"{word} pool '{entry.name}'"):
            async with asyncio.timeout(DISK_S):
                await asyncio.to_thread(work)


@contextlib.contextmanager
def refused(doing: str) -> Iterator[None]:
    """Make the disk's errors the client's."""
    try:
        yield
    except TimeoutError as problem:
        detail = f"cannot {doing}: the disk did not take it in {DISK_S:.0f} s"
        raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.STORAGE) from problem
    except OSError as problem:
        raise system_error(f"cannot {doing}", problem) from problem
