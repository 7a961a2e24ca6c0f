"""Starts, stops, refreshes, builds and deletes pools.

Owns: the order of the steps: backend, status file, memory, event.
May touch: backends through their interface; status files. The caller holds the change lock.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from conf.storage import Pool, PoolType
from rpc.enums import StoragePoolEventID
from rpc.enums import StoragePoolEventLifecycleType as Event
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.events import Publisher
from supervisor.dispatch.service_errors import STORAGE_ERRORS
from supervisor.objects.definitions import disk_errors
from supervisor.runtime.shield import run_to_completion
from supervisor.stord import commands
from supervisor.stord.backends.base import (
    Backend,
    BackendContext,
    BackendType,
    Overwrite,
)
from supervisor.stord.definition_files import PoolFiles
from supervisor.stord.pool import ActivePool, PoolObject
from supervisor.stord.pool_process.fork_server import ForkServer
from supervisor.stord.pool_process.pool_process import PoolProcessClient
from supervisor.stord.registry import POOLS, PoolRegistry, require_active
from supervisor.stord.secrets import FindSecret
from supervisor.stord.status_xml import format_status
from supervisor.stord.volume_info import VolumeInfo

log = logging.getLogger(__name__)

STOP_S: Final = 60.0  # for umount, vgchange or iscsiadm


class Pools:
    """Operations on the pools of one daemon."""

    def __init__(
        self,
        registry: PoolRegistry,
        files: PoolFiles,
        publisher: Publisher,
        backends: dict[PoolType, BackendType],
        fork_server: ForkServer,
        find_secret: FindSecret,
        host_tag: str,
        *,
        session: bool,
    ) -> None:
        self._registry = registry
        self._files = files
        self._publisher = publisher
        self._backends = backends
        self._fork_server = fork_server
        self._find_secret = find_secret
        self._host_tag = host_tag
        self._session = session

    def backend_type(self, pool: Pool) -> BackendType:
        """Return the backend of a pool's type.

        Raises:
            VirError: INTERNAL_ERROR for a type without one; OPERATION_DENIED for one that a session
                daemon has no rights for.
        """
        backend = self._backends.get(pool.type)
        if backend is None:
            number = list(PoolType).index(pool.type)
            detail = f"missing backend for pool type {number} ({pool.type})"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.STORAGE)
        if self._session and not backend.in_session:
            raise STORAGE_ERRORS.needs_system_daemon(
                f"a pool of type '{pool.type}'", "define a pool of type 'dir'"
            )
        return backend

    def new_active(self, pool: Pool) -> ActivePool:
        """Construct a pool's backend without starting it."""
        backend_type = self.backend_type(pool)
        process = PoolProcessClient(pool.name, self._fork_server)
        context = BackendContext(
            pool, process, self._find_secret, self._host_tag, session=self._session
        )
        return ActivePool(pool=pool, backend=backend_type.create(context), process=process)

    async def start(self, obj: PoolObject, pool: Pool, build: Overwrite | None = None) -> None:
        """Start a pool; on failure it stays inactive.

        Args:
            obj: the inactive pool.
            pool: its definition, or that of a transient pool.
            build: build the storage first; None: do not.

        Raises:
            VirError: OPERATION_INVALID when it is active; the backend's.
        """
        if obj.runtime is not None:
            raise STORAGE_ERRORS.operation_invalid(f"storage pool '{obj.name}' is already active")
        for program in self.backend_type(pool).programs:
            commands.find_program(program)
        active = self.new_active(pool)
        try:
            if build is not None:
                await active.backend.build(build)
            await self._start(obj, active)
        except BaseException:
            active.process.release()
            raise
        obj.runtime = active
        self._publisher.lifecycle(obj, Event.STARTED)

    async def stop(self, obj: PoolObject) -> None:
        """Stop a pool.

        Raises:
            VirError: OPERATION_INVALID when it is inactive; INTERNAL_ERROR while it is busy.
        """
        active = require_active(obj)
        check_not_busy(obj, active)
        await run_to_completion(self._stop(obj, active))

    async def refresh(self, obj: PoolObject) -> None:
        """Rescan a pool's volumes.

        Raises:
            VirError: OPERATION_INVALID when it is inactive; the backend's.
        """
        active = require_active(obj)
        check_not_busy(obj, active)
        info = await active.backend.refresh()
        active.update(info)
        self._publisher.publish(
            obj, StoragePoolEventID.REFRESH, "storage_pool_event_refresh", obj.identity
        )

    async def build(self, obj: PoolObject, overwrite: Overwrite) -> None:
        """Create the storage of an inactive pool.

        Raises:
            VirError: OPERATION_INVALID when it is active; the backend's.
        """
        await self._with_inactive_backend(obj, lambda backend: backend.build(overwrite))
        self._publisher.lifecycle(obj, Event.CREATED)

    async def delete(self, obj: PoolObject) -> None:
        """Remove the storage that `build` created.

        Raises:
            VirError: OPERATION_INVALID when it is active; the backend's.
        """
        await self._with_inactive_backend(obj, lambda backend: backend.delete())
        self._publisher.lifecycle(obj, Event.DELETED)

    async def reconnect(self, obj: PoolObject, pool: Pool) -> None:
        """Resume a pool that an earlier stord left active, if its storage still is.

        Raises:
            VirError: the backend's; the pool is inactive then.
        """
        active = self.new_active(pool)
        if await self._is_active(obj, active):
            self._publisher.invalidate()
            obj.runtime = active
            return
        active.process.release()
        with disk_errors(POOLS, f"forget pool '{obj.name}'"):
            await asyncio.to_thread(self._files.remove_status, obj.name)

    async def detect(self, obj: PoolObject, pool: Pool) -> None:
        """Activate a defined pool whose storage is accessible already.

        libvirt applies checkPool to every definition when it starts: a pool of a directory that
        exists, or of a file system that is mounted, is active without a start.

        Raises:
            VirError: the backend's; the pool stays inactive.
        """
        active = self.new_active(pool)
        try:
            if await active.backend.check():
                active.update(await active.backend.refresh())
                with disk_errors(POOLS, f"record pool '{obj.name}'"):
                    text = format_status(pool)
                    await asyncio.to_thread(self._files.save_status, obj.name, text)
                self._publisher.invalidate()
                obj.runtime = active
        finally:
            if obj.runtime is not active:
                active.process.release()

    async def _is_active(self, obj: PoolObject, active: ActivePool) -> bool:
        """Return whether a pool is still active, and read its volumes.

        A pool whose storage hangs counts as active: its mount and its guests are still there.
        """
        checked = False
        try:
            if not await active.backend.check():
                return False
            checked = True
            active.update(await active.backend.refresh())
        except VirError as error:
            log.error("cannot read the volumes of pool '%s': %s", obj.name, error)
            return checked or error.code == ErrorCode.OPERATION_TIMEOUT
        return True

    async def update_space(self, active: ActivePool) -> None:
        """Read a pool's space after a change; on failure the previous values stay."""
        try:
            space = await active.backend.read_space()
        except VirError as error:
            log.warning("cannot read the space of pool '%s': %s", active.pool.name, error)
            return
        self._publisher.invalidate()
        active.space = space

    async def refresh_volume(self, active: ActivePool, volume: VolumeInfo) -> VolumeInfo:
        """Read a volume's current state and remember it; drop a volume that does not exist.

        Raises:
            VirError: NO_STORAGE_VOL; OPERATION_TIMEOUT.
        """
        try:
            info = await active.backend.refresh_volume(volume)
        except VirError as error:
            missing = error.code == ErrorCode.NO_STORAGE_VOL
            if missing and active.volumes.get(volume.name) is volume:
                self._publisher.invalidate()
                del active.volumes[volume.name]
            raise
        if active.volumes.get(volume.name) is volume:  # not deleted or replaced meanwhile
            active.volumes[volume.name] = info
        return info

    async def _with_inactive_backend(
        self, obj: PoolObject, act: Callable[[Backend], Awaitable[None]]
    ) -> None:
        require_inactive(obj)
        for program in self.backend_type(obj.current).programs:
            commands.find_program(program)
        active = self.new_active(obj.current)
        try:
            await act(active.backend)
        finally:
            active.process.release()

    async def _start(self, obj: PoolObject, active: ActivePool) -> None:
        """Write the status file, start the backend and read its volumes; undo all on failure.

        The status file is first: after a crash in between, the next stord asks the backend
        whether the pool is active. Without it a mount would be left that no pool owns.
        """
        with disk_errors(POOLS, f"start pool '{obj.name}'"):
            text = format_status(active.pool)
            await asyncio.to_thread(self._files.save_status, obj.name, text)
        started = False
        try:
            await active.backend.start()
            started = True
            active.update(await active.backend.refresh())
        except BaseException:
            await run_to_completion(self._undo(obj, active, started=started))
            raise

    async def _undo(self, obj: PoolObject, active: ActivePool, *, started: bool) -> None:
        try:
            if started:
                async with asyncio.timeout(STOP_S):
                    await active.backend.stop()
            await asyncio.to_thread(self._files.remove_status, obj.name)
        except (VirError, OSError, TimeoutError) as error:
            log.error("cannot undo the start of pool '%s': %s", obj.name, error)

    async def _stop(self, obj: PoolObject, active: ActivePool) -> None:
        async with asyncio.timeout(STOP_S):
            await active.backend.stop()
        try:
            await asyncio.to_thread(self._files.remove_status, obj.name)
        except OSError as error:  # the storage is deactivated all the same
            log.error("cannot remove the status file of pool '%s': %s", obj.name, error)
        obj.runtime = None
        active.process.release()
        if obj.definition is None:
            self._registry.remove(obj)
        self._publisher.lifecycle(obj, Event.STOPPED)


def require_inactive(obj: PoolObject) -> None:
    """Refuse an active pool.

    Raises:
        VirError: OPERATION_INVALID.
    """
    if obj.runtime is not None:
        raise STORAGE_ERRORS.operation_invalid(f"storage pool '{obj.name}' is still active")


def check_not_busy(obj: PoolObject, active: ActivePool) -> None:
    """Refuse a stop or refresh while volumes are in use.

    Raises:
        VirError: INTERNAL_ERROR, libvirt's code and text for it.
    """
    if active.long_operations:
        detail = f"pool '{obj.name}' has asynchronous jobs running."
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.STORAGE)
