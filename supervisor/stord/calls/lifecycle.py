"""virStoragePool calls that define, start, refresh, build and stop pools.

Owns: one method per procedure, named as in the table; each holds the pool's change lock.
May touch: definitions and active pools, through their modules.
"""

from __future__ import annotations

from conf.storage import Pool, PoolType
from rpc.enums import StoragePoolBuildFlags as Build
from rpc.enums import StoragePoolCreateFlags as Create
from rpc.enums import StoragePoolDefineFlags, StoragePoolDeleteFlags
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import StoragePool as PoolId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.schema import require_valid
from supervisor.dispatch.service_errors import STORAGE_ERRORS
from supervisor.stord.backends.base import BackendType, Overwrite
from supervisor.stord.pool_xml import parse_pool_xml
from supervisor.stord.pools import Pools, require_inactive
from supervisor.stord.registry import PoolDefinitions, PoolRegistry

CREATE: Create = Create.WITH_BUILD | Create.WITH_BUILD_OVERWRITE | Create.WITH_BUILD_NO_OVERWRITE


class PoolLifecycleCalls:
    """Defines, starts, refreshes, builds and stops pools."""

    def __init__(
        self,
        registry: PoolRegistry,
        definitions: PoolDefinitions,
        pools: Pools,
        backends: dict[PoolType, BackendType],
    ) -> None:
        self._registry = registry
        self._definitions = definitions
        self._pools = pools
        self._backends = backends

    # Definitions.

    async def storage_pool_define_xml(self, call: ClientCall, xml: str, flags: int) -> PoolId:
        """Define or redefine a pool; an active one is not changed.

        Raises:
            VirError: OPERATION_FAILED when name or UUID belong to another pool; those of the XML.
        """
        STORAGE_ERRORS.check_flags("storagePoolDefineXML", flags, StoragePoolDefineFlags.VALIDATE)
        validate = flags & StoragePoolDefineFlags.VALIDATE
        await require_valid(xml, "storagepool.rng", Pool, validate)
        pool = parse_pool_xml(xml)
        self._pools.backend_type(pool)
        return (await self._definitions.define(pool)).identity

    async def storage_pool_undefine(self, call: ClientCall, pool: PoolId) -> None:
        """Undefine an inactive pool.

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
        """Set the autostart mark.

        Raises:
            VirError: INTERNAL_ERROR for a transient pool.
        """
        obj = self._registry.find(pool)
        async with obj.change_lock.hold("autostart"):
            if obj.definition is None:
                detail = "pool has no config file"
                raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.STORAGE)
            await self._definitions.set_autostart(obj, on=bool(autostart))

    # Start and stop.

    async def storage_pool_create(self, call: ClientCall, pool: PoolId, flags: int) -> None:
        """Start a defined pool.

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
        """Create a transient pool, or start a defined one with other XML.

        Raises:
            VirError: OPERATION_FAILED when it is active; those of defining and starting.
        """
        STORAGE_ERRORS.check_flags("storagePoolCreateXML", flags, CREATE)
        pool = parse_pool_xml(xml)
        self._pools.backend_type(pool)
        build = build_mode(flags)
        async with self._definitions.creating(pool) as obj:
            if obj.is_active:
                detail = f"pool is already active as '{obj.name}'"
                raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.STORAGE)
            await self._pools.start(obj, pool, build)
        return obj.identity

    async def storage_pool_destroy(self, call: ClientCall, pool: PoolId) -> None:
        """Stop a pool; its data stays.

        Raises:
            VirError: OPERATION_INVALID when it is inactive.
        """
        obj = self._registry.find(pool)
        async with obj.change_lock.hold("destroy"):
            await self._pools.stop(obj)

    async def storage_pool_refresh(self, call: ClientCall, pool: PoolId, flags: int) -> None:
        """Rescan a pool's volumes.

        Raises:
            VirError: OPERATION_INVALID when it is inactive.
        """
        STORAGE_ERRORS.check_flags("storagePoolRefresh", flags)
        obj = self._registry.find(pool)
        async with obj.change_lock.hold("refresh"):
            await self._pools.refresh(obj)

    # Storage.

    async def storage_pool_build(self, call: ClientCall, pool: PoolId, flags: int) -> None:
        """Create the directory, file system, volume group or partition table of an inactive pool.

        Raises:
            VirError: OPERATION_INVALID when it is active; INVALID_ARG for flags.
        """
        # libvirt's backends check the flags: after the driver has refused an active pool.
        require_inactive(self._registry.find(pool))
        STORAGE_ERRORS.check_flags("storagePoolBuild", flags, Build.NO_OVERWRITE | Build.OVERWRITE)
        STORAGE_ERRORS.check_exclusive(flags, Build.NO_OVERWRITE, Build.OVERWRITE)
        obj = self._registry.find(pool)
        overwrite = overwrite_mode(flags, Build.OVERWRITE, Build.NO_OVERWRITE)
        async with obj.change_lock.hold("build"):
            await self._pools.build(obj, overwrite)

    async def storage_pool_delete(self, call: ClientCall, pool: PoolId, flags: int) -> None:
        """Remove the storage that build created.

        Raises:
            VirError: OPERATION_INVALID when it is active.
        """
        require_inactive(self._registry.find(pool))
        STORAGE_ERRORS.check_flags("storagePoolDelete", flags, StoragePoolDeleteFlags.ZEROED)
        if flags & StoragePoolDeleteFlags.ZEROED:
            detail = "deleting a pool with zeroes is not supported; wipe its volumes first"
            raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.STORAGE)
        obj = self._registry.find(pool)
        async with obj.change_lock.hold("delete"):
            await self._pools.delete(obj)

    async def connect_find_storage_pool_sources(
        self, call: ClientCall, type: str, src_spec: str | None, flags: int
    ) -> str:
        """Discover sources of pools of a type.

        Raises:
            VirError: INVALID_ARG for an unknown type; NO_SUPPORT for a type without discovery.
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
    """Return how the BUILD flags of a start build the pool; None: not at all."""
    if not flags & CREATE:
        return None
    return overwrite_mode(flags, Create.WITH_BUILD_OVERWRITE, Create.WITH_BUILD_NO_OVERWRITE)


def overwrite_mode(flags: int, yes: int, no: int) -> Overwrite:
    """Return what flags say about a device that contains data."""
    if flags & yes:
        return Overwrite.YES
    return Overwrite.NO if flags & no else Overwrite.UNSPECIFIED
