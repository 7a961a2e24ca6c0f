"""XML of pools and volumes in their current state. Pure.

Owns: the mapping of `PoolInfo` and `VolumeInfo` to the models of `conf.storage`.
"""

from __future__ import annotations

from dataclasses import replace

from conf.errors import ConfError
from conf.storage import (
    BackingStore,
    FreeExtent,
    Pool,
    PoolType,
    Volume,
    VolumeType,
    check_new_volume,
    format_pool,
    format_volume,
    parse_pool,
    parse_volume,
)
from conf.storage.attributes import timestamp
from conf.storage.credentials import VolumeEncryption, VolumeSecret
from conf.storage.permissions import Permissions
from conf.storage.volume import Extent, ExtentDevice, VolumeTarget
from rpc.errors import ErrorDomain
from supervisor.dispatch.errors import from_conf_error
from supervisor.stord.pool import ActivePool
from supervisor.stord.volume_info import VolumeInfo


def parse_pool_xml(xml: str) -> Pool:
    """Parse and validate a pool's XML.

    Raises:
        VirError: with libvirt's code.
    """
    try:
        return parse_pool(xml)
    except ConfError as error:
        raise from_conf_error(error, ErrorDomain.STORAGE) from error


def parse_volume_xml(xml: str, pool_type: PoolType, *, is_copy: bool = False) -> Volume:
    """Parse the XML of a new volume.

    Raises:
        VirError: with libvirt's code.
    """
    try:
        return parse_volume(xml, pool_type, capacity_from_elsewhere=is_copy)
    except ConfError as error:
        raise from_conf_error(error, ErrorDomain.STORAGE) from error


def check_volume(volume: Volume, pool_type: PoolType) -> None:
    """Refuse a new volume that the pool's type or the volume's format does not allow.

    Raises:
        VirError: with libvirt's code.
    """
    try:
        check_new_volume(volume, pool_type)
    except ConfError as error:
        raise from_conf_error(error, ErrorDomain.STORAGE) from error


def format_active_pool(active: ActivePool) -> str:
    """Format an active pool with its space."""
    pool, space = active.pool, active.space
    source = replace(pool.source)
    source.devices = [replace(device) for device in source.devices]
    for device in source.devices:
        device.free_extents = [
            FreeExtent(start=free.start, end=free.end)
            for free in space.free
            if free.device == device.path
        ]
    if space.source_format and source.format is not None:
        source.format = space.source_format
    return format_pool(
        replace(
            pool,
            source_element=source,
            capacity=space.capacity,
            allocation=space.allocation,
            available=space.available,
        )
    )


def format_volume_info(volume: VolumeInfo) -> str:
    """Format a volume."""
    return format_volume(volume_model(volume))


def volume_model(volume: VolumeInfo) -> Volume:
    """Map a volume to its XML model."""
    model = Volume(type=VolumeType(volume.type), name=volume.name, key=volume.key)
    model.capacity = volume.capacity
    model.allocation = volume.allocation
    model.physical = volume.physical
    model.source = _source(volume)
    model.target_element = _target(volume)
    backing = volume.backing
    if backing is not None:
        model.backing_store = BackingStore(
            path=backing.path,
            format=backing.format,
            permissions=_permissions(backing.mode, backing.owner, backing.group, backing.label),
        )
    return model


def _target(volume: VolumeInfo) -> VolumeTarget:
    target = VolumeTarget(
        path=volume.path,
        format=volume.format or None,
        permissions=_permissions(volume.mode, volume.owner, volume.group, volume.label),
        compat=volume.compat or None,
        lazy_refcounts="lazy_refcounts" in volume.features,
        extended_l2="extended_l2" in volume.features,
    )
    times = [timestamp(moment) for moment in volume.times]
    for name, moment in zip(("atime", "mtime", "ctime", "btime"), times, strict=False):
        setattr(target, name, moment)
    if volume.cluster_size:
        target.cluster_size = volume.cluster_size
    if volume.encryption:
        target.encryption = VolumeEncryption(format=volume.encryption, secrets=_secrets(volume))
    return target


def _secrets(volume: VolumeInfo) -> list[VolumeSecret]:
    if not volume.secret_uuid and not volume.secret_usage:
        return []
    uuid, usage = volume.secret_uuid or None, volume.secret_usage or None
    return [VolumeSecret(type="passphrase", uuid=uuid, usage=usage)]


def _permissions(mode: int, owner: int, group: int, label: str = "") -> Permissions | None:
    permissions = Permissions(
        mode=mode if mode >= 0 else None,
        owner=owner if owner >= 0 else None,
        group=group if group >= 0 else None,
        label=label or None,
    )
    return None if permissions.is_empty else permissions


def _source(volume: VolumeInfo) -> list[ExtentDevice]:
    """Group a volume's extents by device."""
    devices: list[ExtentDevice] = []
    for extent in volume.extents:
        if not devices or devices[-1].path != extent.device:
            devices.append(ExtentDevice(path=extent.device))
        devices[-1].extents.append(Extent(start=extent.start, end=extent.end))
    return devices
