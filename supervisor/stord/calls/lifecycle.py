"""stord's calls that define, start, refresh and stop pools.

Owns: one method per procedure, named as in the table; each takes the pool's job.
May touch: definitions and active pools, each through its own module.
"""

from __future__ import annotations

from conf.storage import PoolType
from rpc.enums import StoragePoolBuildFlags as Build
from rpc.enums import StoragePoolCreateFlags as Create
from rpc.enums import StoragePoolDefineFlags, StoragePoolDeleteFlags
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import StoragePool as PoolId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.service_errors import STORAGE_ERRORS
from supervisor.stord.backends.base import BackendType, Overwrite
from supervisor.stord.pool_xml import parse_pool_xml
from supervisor.stord.pools import Pools
from supervisor.stord.registry import PoolDefinitions, PoolRegistry

CREATE: Create = Create.WITH_BUILD | Create.WITH_BUILD_OVERWRITE | Create.WITH_BUILD_NO_OVERWRITE
SCHEMA: int = 0x8  # virStoragePoolCreateFlags: VALIDATE; documents are always checked


class PoolLifecycleCalls:
    """What clients may do with pools."""

    def __init__(
        self,
        registry: PoolRegistry,
        definitions: PoolDefinitions,
        pools: Pools,
        backends: dict[PoolType, BackendType],
    ) -> None:
        """Work on these."""
        self._registry = registry
        self._definitions = definitions
        self._pools = pools
        self._backends = backends

    # Definitions.

    async def storage_pool_define_xml(self, call: ClientCall, xml: str, flags: int) -> PoolId:
        """Define a pool, or define it anew; an active one goes on as it is.

        Raises:
            VirError: OPERATION_FAILED when the name or UUID is another's; what the document lacks.
        """
        STORAGE_ERRORS.check_flags("storagePoolDefineXML", flags, StoragePoolDefineFlags.VALIDATE)
        pool = parse_pool_xml(xml)
        self._pools.backend_type(pool)
        return (await self._definitions.define(pool)).identity

    async def storage_pool_undefine(self, call: ClientCall, pool: PoolId) -> None:
        """Forget a pool's definition.

        Raises:
            VirError: OPERATION_INVALID for an active pool.
        """
        obj = self._registry.find(pool)
        async with obj.change_lock.hold("undefine"):
            if obj.runtime is not None:
                raise STORAGE_ERRORS.operation_invalid(f"storage pool '{obj.name}' is still active")
            await self._definitions.undefine(obj)

    async def storage_pool_set_autostart(
        self, call: ClientCall, pool: PoolId, autostart: int
    ) -> None:
        """Have the pool start with the host, or not.

        Raises:
            VirError: INVALID_ARG for a transient pool.
        """
        obj = self._registry.find(pool)
        async with obj.change_lock.hold("autostart"):
            if obj.definition is None:
                detail = "pool has no config file"
                raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.STORAGE)
            if obj.autostart != bool(autostart):
                await self._definitions.set_autostart(obj, on=bool(autostart))

    # Being active.

    async def storage_pool_create(self, call: ClientCall, pool: PoolId, flags: int) -> None:
        """Start a pool that is defined.

        Raises:
            VirError: OPERATION_INVALID when it is active; those of starting.
        """
        STORAGE_ERRORS.check_flags("storagePoolCreate", flags, CREATE)
        obj = self._registry.find(pool)
        async with obj.change_lock.hold("start"):
            if obj.definition is None:
                raise STORAGE_ERRORS.operation_invalid(
                    f"storage pool '{obj.name}' is already active"
                )
            await self._pools.start(obj, obj.definition, build_mode(flags))

    async def storage_pool_create_xml(self, call: ClientCall, xml: str, flags: int) -> PoolId:
        """Start a pool that is gone when it stops, or a defined one in another way.

        Raises:
            VirError: OPERATION_FAILED when it is active; those of defining and starting.
        """
        STORAGE_ERRORS.check_flags("storagePoolCreateXML", flags, CREATE | SCHEMA)
        pool = parse_pool_xml(xml)
        self._pools.backend_type(pool)
        build = build_mode(flags)
        obj = await self._definitions.claim(pool)
        async with obj.change_lock.hold("create"):
            try:
                if obj.runtime is not None:
                    detail = f"pool is already active as '{obj.name}'"
                    raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.STORAGE)
                await self._pools.start(obj, pool, build)
            except BaseException:
                if not obj.is_listed:
                    self._registry.remove(obj)
                raise
        return obj.identity

    async def storage_pool_destroy(self, call: ClientCall, pool: PoolId) -> None:
        """Stop a pool; what is in it stays.

        Raises:
            VirError: OPERATION_INVALID when it is off.
        """
        obj = self._registry.find(pool)
        async with obj.change_lock.hold("destroy"):
            await self._pools.stop(obj)

    async def storage_pool_refresh(self, call: ClientCall, pool: PoolId, flags: int) -> None:
        """Look at a pool's volumes anew.

        Raises:
            VirError: OPERATION_INVALID when it is off.
        """
        STORAGE_ERRORS.check_flags("storagePoolRefresh", flags)
        obj = self._registry.find(pool)
        async with obj.change_lock.hold("refresh"):
            await self._pools.refresh(obj)

    # The storage below.

    async def storage_pool_build(self, call: ClientCall, pool: PoolId, flags: int) -> None:
        """Make the folder, file system, group or table of a pool that is off.

        Raises:
            VirError: OPERATION_INVALID when it is active; INVALID_ARG for flags.
        """
        STORAGE_ERRORS.check_flags("storagePoolBuild", flags, Build.NO_OVERWRITE | Build.OVERWRITE)
        STORAGE_ERRORS.check_exclusive(flags, Build.NO_OVERWRITE, Build.OVERWRITE)
        obj = self._registry.find(pool)
        overwrite = overwrite_mode(flags, Build.OVERWRITE, Build.NO_OVERWRITE)
        async with obj.change_lock.hold("build"):
            await self._pools.build(obj, overwrite)

    async def storage_pool_delete(self, call: ClientCall, pool: PoolId, flags: int) -> None:
        """Remove what building a pool has made.

        Raises:
            VirError: OPERATION_INVALID when it is active.
        """
        STORAGE_ERRORS.check_flags("storagePoolDelete", flags, StoragePoolDeleteFlags.ZEROED)
        if flags & StoragePoolDeleteFlags.ZEROED:
            detail = "a pool's storage is not overwritten with zeros; wipe its volumes before"
            raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.STORAGE)
        obj = self._registry.find(pool)
        async with obj.change_lock.hold("delete"):
            await self._pools.delete(obj)

    async def connect_find_storage_pool_sources(
        self, call: ClientCall, type: str, src_spec: str | None, flags: int
    ) -> str:
        """What could become pools of a type.

        Raises:
            VirError: INVALID_ARG for an unknown type; NO_SUPPORT where nothing can be found.
        """
        STORAGE_ERRORS.check_flags("storageConnectFindPoolSources", flags)
        if type not in PoolType.__members__.values():
            detail = f"unknown storage pool type {type}"
            raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.STORAGE)
        kind = self._backends.get(PoolType(type))
        if kind is None or kind.find_sources is None:
            detail = f"pool type '{type}' does not support source discovery"
            raise VirError(ErrorCode.NO_SUPPORT, detail, ErrorDomain.STORAGE)
        return await kind.find_sources(src_spec or "")


def build_mode(flags: int) -> Overwrite | None:
    """How a pool is to be built before it starts; None: not at all.

    Raises:
        VirError: INVALID_ARG for flags that contradict each other.
    """
    STORAGE_ERRORS.check_exclusive(
        flags, Create.WITH_BUILD_OVERWRITE, Create.WITH_BUILD_NO_OVERWRITE
    )
    if not flags & CREATE:
        return None
    return overwrite_mode(flags, Create.WITH_BUILD_OVERWRITE, Create.WITH_BUILD_NO_OVERWRITE)


def overwrite_mode(flags: int, yes: int, no: int) -> Overwrite:
    """What flags say of a device that has something on it."""
    if flags & yes:
        return Overwrite.YES
    return Overwrite.NO if flags & no else Overwrite.UNSPECIFIED
