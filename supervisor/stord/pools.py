"""Pools in motion: starting, stopping, refreshing, building, deleting.

Owns: the order of the steps: the backend acts, the status document says so, memory follows.
May touch: backends, each through its interface; the store. The caller holds the pool's job.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from conf.storage import Pool, PoolType, format_pool
from rpc.enums import StoragePoolEventID
from rpc.enums import StoragePoolEventLifecycleType as Event
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.events import Publisher
from supervisor.dispatch.service_errors import STORAGE_ERRORS
from supervisor.objects.definitions import refused
from supervisor.runtime.shield import run_to_completion
from supervisor.stord import commands
from supervisor.stord.backends.base import Backend, FindSecret, Kind, Means, Overwrite
from supervisor.stord.definition_files import Store
from supervisor.stord.pool import ActivePool, PoolObject
from supervisor.stord.pool_process.fork_server import Forker
from supervisor.stord.pool_process.pool_process import PoolWork
from supervisor.stord.registry import POOLS, Registry, active

log = logging.getLogger(__name__)

STOP_S: Final = 60.0  # for a pool's storage to be let go


class Pools:
    """Acts on the pools of one daemon."""

    def __init__(
        self,
        registry: Registry,
        store: Store,
        publisher: Publisher,
        kinds: dict[PoolType, Kind],
        forker: Forker,
        secret: FindSecret,
        host: str,
        *,
        session: bool,
    ) -> None:
        """Act on these."""
        self._registry = registry
        self._store = store
        self._publisher = publisher
        self._kinds = kinds
        self._forker = forker
        self._secret = secret
        self._host = host
        self._session = session

    def check_type(self, pool: Pool) -> Kind:
        """The kind of a pool, which this daemon has.

        Raises:
            VirError: INTERNAL_ERROR for a type without a backend; OPERATION_DENIED for one that a
                user's own daemon may not have.
        """
        kind = self._kinds.get(pool.type)
        if kind is None:
            number = list(PoolType).index(pool.type)
            detail = f"missing backend for pool type {number} ({pool.type})"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.STORAGE)
        if self._session and not kind.in_session:
            raise STORAGE_ERRORS.needs_system_daemon(
                f"pools of type '{pool.type}'", "define a pool of type 'dir'"
            )
        return kind

    def make_active(self, pool: Pool) -> ActivePool:
        """A pool's backend, not started yet."""
        kind = self.check_type(pool)
        work = PoolWork(pool.name, self._forker)
        means = Means(pool, work, self._secret, self._host, session=self._session)
        return ActivePool(pool=pool, backend=kind.make(means), work=work)

    async def start(self, entry: PoolObject, pool: Pool, build: Overwrite | None = None) -> None:
        """Start a pool; one that cannot be started is as it was before.

        Args:
            entry: the pool, which is off.
            pool: as it is to be.
            build: how it is to be built first; None: it is not.

        Raises:
            VirError: OPERATION_INVALID when it is active; the backend's.
        """
        if entry.active is not None:
            raise STORAGE_ERRORS.operation_invalid(f"storage pool '{entry.name}' is already active")
        for program in self.check_type(pool).needs:
            commands.find(program)
        now = self.make_active(pool)
        try:
            if build is not None:
                await now.backend.build(build)
            await self._start(entry, now)
        except BaseException:
            now.work.release()
            raise
        self._publisher.invalidate()
        entry.active = now
        self._publisher.lifecycle(entry, Event.STARTED)

    async def stop(self, entry: PoolObject) -> None:
        """Stop a pool.

        Raises:
            VirError: OPERATION_INVALID when it is off; INTERNAL_ERROR while volumes of it are made.
        """
        now = active(entry)
        refuse_busy(entry, now)
        await run_to_completion(self._stop(entry, now))

    async def refresh(self, entry: PoolObject) -> None:
        """Look at a pool's volumes anew.

        Raises:
            VirError: OPERATION_INVALID when it is off; the backend's.
        """
        now = active(entry)
        refuse_busy(entry, now)
        facts = await now.backend.refresh()
        self._publisher.invalidate()
        now.take(facts)
        self._publisher.publish(
            entry, StoragePoolEventID.REFRESH, "storage_pool_event_refresh", entry.identity
        )

    async def build(self, entry: PoolObject, overwrite: Overwrite) -> None:
        """Build a pool that is off.

        Raises:
            VirError: OPERATION_INVALID when it is active; the backend's.
        """
        await self._off(entry, lambda backend: backend.build(overwrite))
        self._publisher.lifecycle(entry, Event.CREATED)

    async def delete(self, entry: PoolObject) -> None:
        """Delete what building a pool has made.

        Raises:
            VirError: OPERATION_INVALID when it is active; the backend's.
        """
        await self._off(entry, lambda backend: backend.delete())
        self._publisher.lifecycle(entry, Event.DELETED)

    async def take_over(self, entry: PoolObject, pool: Pool) -> None:
        """Know a pool as active that was so before stord's start, if it still is.

        Raises:
            VirError: the backend's; the pool is off then.
        """
        now = self.make_active(pool)
        if await self._is_active(entry, now):
            self._publisher.invalidate()
            entry.active = now
            return
        now.work.release()
        with refused(POOLS, f"forget pool '{entry.name}'"):
            await asyncio.to_thread(self._store.remove_status, entry.name)

    async def _is_active(self, entry: PoolObject, now: ActivePool) -> bool:
        """Whether a pool is still active; its volumes are known then, unless its storage hangs."""
        checked = False
        try:
            if not await now.backend.check():
                return False
            checked = True
            now.take(await now.backend.refresh())
        except VirError as error:
            log.error("the volumes of pool '%s' are not known: %s", entry.name, error)
            return checked or error.code == ErrorCode.OPERATION_TIMEOUT
        return True

    async def measure(self, now: ActivePool) -> None:
        """Follow a change of a pool's space; an error leaves the figures as they were."""
        try:
            space = await now.backend.measure()
        except VirError as error:
            log.warning("the space of pool '%s' is not known: %s", now.pool.name, error)
            return
        self._publisher.invalidate()
        now.space = space

    async def _off(self, entry: PoolObject, act: Callable[[Backend], Awaitable[None]]) -> None:
        if entry.active is not None:
            raise STORAGE_ERRORS.operation_invalid(f"storage pool '{entry.name}' is still active")
        for program in self.check_type(entry.current).needs:
            commands.find(program)
        now = self.make_active(entry.current)
        try:
            await act(now.backend)
        finally:
            now.work.release()

    async def _start(self, entry: PoolObject, now: ActivePool) -> None:
        """Start the storage, look at it, and say so on disk; undo the start if that fails.

        The status comes first: after a crash in between, the next stord asks the backend whether
        the pool is active and knows of it.
        """
        with refused(POOLS, f"start pool '{entry.name}'"):
            text = format_status(now.pool)
            await asyncio.to_thread(self._store.save_status, entry.name, text)
        started = False
        try:
            await now.backend.start()
            started = True
            now.take(await now.backend.refresh())
        except BaseException:
            await run_to_completion(self._undo(entry, now, started=started))
            raise

    async def _undo(self, entry: PoolObject, now: ActivePool, *, started: bool) -> None:
        try:
            if started:
                async with asyncio.timeout(STOP_S):
                    await now.backend.stop()
            await asyncio.to_thread(self._store.remove_status, entry.name)
        except (VirError, OSError, TimeoutError) as error:
            log.error("pool '%s' is left half started: %s", entry.name, error)

    async def _stop(self, entry: PoolObject, now: ActivePool) -> None:
        async with asyncio.timeout(STOP_S):
            await now.backend.stop()
        with refused(POOLS, f"stop pool '{entry.name}'"):
            await asyncio.to_thread(self._store.remove_status, entry.name)
        self._publisher.invalidate()
        entry.active = None
        now.work.release()
        if entry.definition is None:
            self._registry.remove(entry)
        self._publisher.lifecycle(entry, Event.STOPPED)


def refuse_busy(entry: PoolObject, now: ActivePool) -> None:
    """Refuse what would pull a pool away from those who use it.

    Raises:
        VirError: INTERNAL_ERROR, as libvirt says it.
    """
    if now.long_operations:
        detail = f"pool '{entry.name}' has asynchronous jobs running."
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.STORAGE)


def format_status(pool: Pool) -> str:
    """The status document of an active pool: what its successor needs to know of it. Pure."""
    inner = "".join(f"  {line}\n" for line in format_pool(pool).splitlines())
    return f"<poolstate>\n{inner}</poolstate>\n"
