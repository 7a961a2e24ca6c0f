"""Two pools on the same storage: refused, for each would think it has it for itself. Pure.

Source: libvirt 9.0, which refuses the definition of the second.
"""

from __future__ import annotations

from collections.abc import Iterable

from conf.storage import Pool, PoolType
from rpc.errors import ErrorCode, ErrorDomain, VirError

ON_DEVICES = (PoolType.FS, PoolType.LOGICAL, PoolType.DISK, PoolType.ZFS)
ON_SERVERS = (PoolType.NETFS, PoolType.ISCSI, PoolType.ISCSI_DIRECT, PoolType.GLUSTER)


def storage_of(pool: Pool) -> frozenset[tuple[str, ...]]:
    """What a pool lies on; two pools that share one of these are in each other's way."""
    source = pool.source
    if pool.type is PoolType.DIR:
        return frozenset({(pool.path,)})
    if pool.type in ON_DEVICES:
        return frozenset((device.path,) for device in source.devices)
    if pool.type in ON_SERVERS:
        targets = [device.path for device in source.devices]
        return frozenset(
            (host.name or "", source.dir or source.name or "", *targets, source.initiator or "")
            for host in source.hosts
        )
    return frozenset()


def refuse_conflict(pool: Pool, others: Iterable[Pool]) -> None:
    """Refuse a pool on storage that another one has.

    Raises:
        VirError: OPERATION_FAILED naming the other.
    """
    mine = storage_of(pool)
    for other in others:
        is_other = other.type is pool.type and other.name != pool.name
        if is_other and mine & storage_of(other):
            detail = f"Storage source conflict with pool: '{other.name}'"
            raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.STORAGE)
