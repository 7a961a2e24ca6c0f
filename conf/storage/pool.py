"""<pool>: a storage pool.

Owns: the model; reading with what is refused; completing; writing. May not touch: files, the host.
Source: libvirt 9.0 formatstorage; the order of elements and the refusals are those of the corpus.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from conf.errors import ConfError
from conf.mapper import NAMESPACES, Mode, attribute, child, children, element, parse, text, write
from conf.storage.attributes import clean_path
from conf.storage.formats import TRAITS, PoolType, Traits
from conf.storage.permissions import Permissions
from conf.storage.source import PoolSource
from conf.types.bool import yes_no
from conf.types.uuid import uuid_reader

_read_uuid: Final = uuid_reader("xml", "pool/uuid")
#: <refresh><volume allocation>: measured ("default"), or equal to the capacity.
REFRESH_ALLOCATIONS: Final = ("default", "capacity")
_MOUNTED: Final = (PoolType.FS, PoolType.NETFS)


def _measured(_: str) -> int:
    """Ignore a size in the input: the backend measures it."""
    return 0


def _in_bytes(_: str) -> str:
    return "bytes"


@element("target")
@dataclass(slots=True, kw_only=True)
class PoolTarget:
    """<target>: path and permissions of the volumes on the host."""

    path: str | None = text("path", read=clean_path, omit="")
    permissions: Permissions | None = child("permissions", Permissions)


@element("option")
@dataclass(slots=True, kw_only=True)
class PoolOption:
    """<fs:option> or <rbd:option>: handed to mount, or to the cluster's library."""

    name: str | None = attribute("@name")
    value: str | None = attribute("@value")


@element("pool")
@dataclass(slots=True, kw_only=True)
class Pool:
    """<pool>. Sizes are bytes."""

    type: PoolType = attribute("@type", read=PoolType, default=PoolType.DIR, required=True)
    name: str = text("name", default="")
    uuid: str = text("uuid", default="", omit="")  # never empty once read
    capacity_unit: str = attribute("capacity/@unit", read=_in_bytes, default="bytes")
    capacity: int = text("capacity", read=_measured, default=0)
    allocation_unit: str = attribute("allocation/@unit", read=_in_bytes, default="bytes")
    allocation: int = text("allocation", read=_measured, default=0)
    available_unit: str = attribute("available/@unit", read=_in_bytes, default="bytes")
    available: int = text("available", read=_measured, default=0)
    cow: bool | None = attribute("features/cow/@state", read=yes_no, first=True)
    #: Both are there once a document has been read, the target in types that have one.
    source_element: PoolSource | None = child("source", PoolSource)
    target_element: PoolTarget | None = child("target", PoolTarget, merge=True)
    refresh_allocation: str | None = attribute("refresh/volume/@allocation", empty_is_absent=True)
    mount_options: list[PoolOption] = children("fs:mount_opts/fs:option", PoolOption)
    config_options: list[PoolOption] = children("rbd:config_opts/rbd:option", PoolOption)
    traits: Traits = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Look up the type's traits; add the elements that every pool has."""
        self.traits = TRAITS[self.type]
        if self.source_element is None:
            self.source_element = PoolSource()
        if self.target_element is None and self.traits.has_target:
            self.target_element = PoolTarget()

    @property
    def source(self) -> PoolSource:
        """Return <source>."""
        assert self.source_element is not None
        return self.source_element

    @property
    def target(self) -> PoolTarget:
        """Return <target>; an empty one for types without."""
        return self.target_element or PoolTarget()

    @property
    def path(self) -> str:
        """Return the target path; "" for types without a target."""
        return self.target.path or ""


def parse_pool(xml: bytes | str, *, make_uuid: Callable[[], str] | None = None) -> Pool:
    """Parse, complete and validate a pool's XML.

    Args:
        xml: the XML.
        make_uuid: makes the UUID of a pool without one; random by default.

    Raises:
        ConfError: with libvirt's code as its kind.
    """
    pool = parse(Pool, xml)
    # libvirt's order: of several mistakes it reports the first of these.
    _check_format(pool)
    _complete_names(pool)
    pool.uuid = (
        _read_uuid(pool.uuid) if pool.uuid else make_uuid() if make_uuid else str(uuid.uuid4())
    )
    _check_features(pool)
    _check_source(pool)
    _drop_unused_source(pool)
    _complete_target(pool)
    _check_rest(pool)
    return pool


def format_pool(pool: Pool) -> str:
    """Format a pool's XML."""
    xml = write(pool, Mode())
    for prefix, used in (("fs", pool.mount_options), ("rbd", pool.config_options)):
        if used:
            start = f"<pool type='{pool.type}'"
            xml = xml.replace(start, f"{start} xmlns:{prefix}='{NAMESPACES[prefix]}'", 1)
    return xml


def _complete_names(pool: Pool) -> None:
    """Name a pool after its source (volume group) if it has no name, and vice versa."""
    named = pool.traits.knows("name")
    pool.name = pool.name or (pool.source.name or "" if named else "")
    if not pool.name:
        raise ConfError("xml", "missing pool source name element", "pool/name")
    if "/" in pool.name:
        raise ConfError("xml", f"name {pool.name} cannot contain '/'", "pool/name")
    if "\n" in pool.name:
        raise ConfError("xml_detail", "invalid char in name: \\n", "pool/name")
    if named:
        pool.source.name = pool.source.name or pool.name


def _check_format(pool: Pool) -> None:
    """Refuse an RBD pool without a source name, and unknown formats."""
    source, formats = pool.source, pool.traits.formats
    if pool.type is PoolType.RBD and not source.name:
        raise ConfError("xml", "element 'name' is mandatory for RBD pool", "pool/source/name")
    if formats is not None:
        source.format = source.format or formats.default
        if source.format not in formats.names:
            detail = f"unknown pool format type {source.format}; a pool of type '{pool.type}' "
            detail += f"has one of {', '.join(formats.names)}"
            raise ConfError("config_unsupported", detail, "source/format/@type")


def _check_features(pool: Pool) -> None:
    """Refuse <cow> where there is no directory to set it for."""
    if pool.cow is not None and pool.type not in (PoolType.FS, PoolType.DIR):
        detail = "cow feature may only be used for 'fs' and 'dir' pools"
        raise ConfError("no_support", detail, "pool/features/cow")


def _check_source(pool: Pool) -> None:
    """Refuse a <source> that lacks what its type needs."""
    source, needs = pool.source, pool.traits.needs
    missing = (
        ("host", not source.hosts, "missing storage pool source host name"),
        ("dir", not source.dir, "missing storage pool source path"),
        ("adapter", source.adapter is None, "missing storage pool source adapter"),
        ("device", not source.devices, "missing storage pool source device name"),
    )
    for part, absent, detail in missing:
        if part in needs and absent:
            raise ConfError("xml", detail, "pool/source")
    if "initiator" in needs and not source.initiator:
        raise ConfError("config_unsupported", "missing initiator IQN", "source/initiator")


def _drop_unused_source(pool: Pool) -> None:
    """Drop parts of <source> that the type does not use, as libvirt does."""
    source, knows = pool.source, pool.traits.knows
    source.hosts = source.hosts if knows("host") else []
    source.devices = source.devices if knows("device") else []
    source.dir = source.dir if knows("dir") else None
    source.adapter = source.adapter if knows("adapter") else None
    source.name = source.name if knows("name") else None
    source.initiator = source.initiator if knows("initiator") else None
    if pool.traits.formats is None:
        source.format = None
    _drop_unused(pool)


def _drop_unused(pool: Pool) -> None:
    """Drop other elements that the type does not use."""
    if not pool.traits.has_target:
        pool.target_element = None
    if pool.type not in _MOUNTED:
        pool.mount_options = []
    if pool.type is not PoolType.RBD:
        pool.config_options = []


def _complete_target(pool: Pool) -> None:
    """Complete the target path; for volume groups it is /dev/GROUP."""
    target = pool.target_element
    if target is None:
        return
    if pool.type is PoolType.LOGICAL:
        target.path = f"/dev/{pool.source.name}"
    elif pool.type is PoolType.ZFS:
        target.path = f"/dev/zvol/{pool.source.name}"
    if not target.path:
        raise ConfError("xml", "missing storage pool target path", "pool/target/path")
    if target.permissions is not None and target.permissions.is_empty:
        target.permissions = None


def _check_rest(pool: Pool) -> None:
    """Check elements that only some types support."""
    protocol, source_format = pool.source.protocol_version, pool.source.format
    if protocol is not None and (
        pool.type is not PoolType.NETFS or source_format not in ("auto", "nfs")
    ):
        detail = (
            f"storage pool protocol ver unsupported for pool type '{source_format or pool.type}'"
        )
        raise ConfError("config_unsupported", detail, "source/protocol/@ver")
    if pool.refresh_allocation not in (None, *REFRESH_ALLOCATIONS):
        detail = "unknown storage pool volume refresh allocation type "
        detail += f"{pool.refresh_allocation}; there are {', '.join(REFRESH_ALLOCATIONS)}"
        raise ConfError("config_unsupported", detail, "refresh/volume/@allocation")
    if any(option.name is None for option in pool.mount_options):
        raise ConfError("xml", "no fs mount option name specified", "fs:mount_opts/fs:option")
    if any(not option.name for option in pool.config_options):
        raise ConfError("xml", "no rbd option name specified", "rbd:config_opts/rbd:option")
    if any(not option.value for option in pool.config_options):
        raise ConfError("xml", "no rbd option value specified", "rbd:config_opts/rbd:option")
