"""Storage pools and volumes: models of their XML, and validation. Pure."""

from conf.storage.capabilities import format_capabilities
from conf.storage.formats import TRAITS, PoolType, VolumeType, volume_type
from conf.storage.pool import Pool, PoolTarget, format_pool, parse_pool
from conf.storage.source import (
    FreeExtent,
    PoolDevice,
    PoolHost,
    PoolSource,
    format_sources,
    parse_source,
)
from conf.storage.source_conflicts import same_source
from conf.storage.volume import BackingStore, Volume, format_volume, parse_volume
from conf.storage.volume_validate import check_new_volume

__all__ = [
    "TRAITS",
    "BackingStore",
    "FreeExtent",
    "Pool",
    "PoolDevice",
    "PoolHost",
    "PoolSource",
    "PoolTarget",
    "PoolType",
    "Volume",
    "VolumeType",
    "check_new_volume",
    "format_capabilities",
    "format_pool",
    "format_sources",
    "format_volume",
    "parse_pool",
    "parse_source",
    "parse_volume",
    "same_source",
    "volume_type",
]
