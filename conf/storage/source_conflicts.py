"""Whether two pools use the same storage.

Owns: that comparison, for each pool type. Pure: no device is read.
Source: libvirt 9.0's refusals ("Storage source conflict with pool"), measured.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from conf.storage.adapter import Adapter
from conf.storage.formats import PoolType
from conf.storage.pool import Pool
from conf.storage.source import PoolSource

#: Types on block devices: a device belongs to one pool, whatever its type.
_ON_DEVICES: Final = (PoolType.FS, PoolType.LOGICAL, PoolType.DISK, PoolType.ZFS)


def same_source(pool: Pool, other: Pool) -> bool:
    """Return whether two pools exclude each other."""
    if pool.type in _ON_DEVICES and other.type in _ON_DEVICES:
        taken = {device.path for device in pool.source.devices}
        return any(device.path in taken for device in other.source.devices)
    same = _SAME.get(pool.type)
    return pool.type is other.type and same is not None and same(pool, other)


def _same_path(pool: Pool, other: Pool) -> bool:
    return pool.path == other.path


def _same_export(pool: Pool, other: Pool) -> bool:
    a, b = pool.source, other.source
    return a.dir == b.dir and _hosts(a) == _hosts(b)


def _same_volume(pool: Pool, other: Pool) -> bool:
    return pool.source.name == other.source.name and _same_export(pool, other)


def _hosts(source: PoolSource) -> list[tuple[str | None, int]]:
    return [(host.name, host.port or 0) for host in source.hosts]


def _same_target(pool: Pool, other: Pool) -> bool:
    """Compare iSCSI targets and initiators; libvirt ignores the port."""
    a, b = pool.source, other.source
    return (
        a.initiator == b.initiator
        and [host.name for host in a.hosts] == [host.name for host in b.hosts]
        and [device.path for device in a.devices] == [device.path for device in b.devices]
    )


def _same_adapter(pool: Pool, other: Pool) -> bool:
    a, b = pool.source.adapter, other.source.adapter
    return a is not None and b is not None and a.type == b.type and _adapter(a) == _adapter(b)


def _adapter(adapter: Adapter) -> tuple[object, ...]:
    """Return what identifies an adapter."""
    if adapter.type == "fc_host":
        return adapter.wwnn, adapter.wwpn
    if adapter.parent_address is not None:
        return adapter.parent_address.unique_id, adapter.parent_address.address
    return (adapter.name or "").removeprefix("scsi_"), None


_SAME: Final[dict[PoolType, Callable[[Pool, Pool], bool]]] = {
    PoolType.DIR: _same_path,
    PoolType.NETFS: _same_export,
    PoolType.GLUSTER: _same_volume,
    PoolType.ISCSI: _same_target,
    PoolType.ISCSI_DIRECT: _same_target,
    PoolType.SCSI: _same_adapter,
    PoolType.MPATH: lambda _one, _other: True,  # one pool has all multipath devices of the host
}
