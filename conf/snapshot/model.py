"""<domainsnapshot>: what was kept of a domain at one moment.

Owns: the model. May not touch: files, the host; the domains inside are kept as text, because most
of them are only passed on.
Source: libvirt 9.0 formatsnapshot.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from conf.domain.devices.backing_store import FORMATS, CacheSize
from conf.domain.devices.backing_store import TYPES as SOURCE_TYPES
from conf.domain.devices.disk_chain import location, source_name
from conf.domain.devices.source import Source
from conf.errors import ConfError
from conf.mapper import Mode, Refusal, attribute, child, children, element, text
from conf.moment.nested_domain import NestedDomain
from conf.types.enum import one_of
from conf.types.integer import long_signed


class SnapshotState(StrEnum):
    """The state of the guest when the snapshot was made (virDomainSnapshotState)."""

    NOSTATE = "nostate"
    RUNNING = "running"
    BLOCKED = "blocked"
    PAUSED = "paused"
    SHUTDOWN = "shutdown"
    SHUTOFF = "shutoff"
    CRASHED = "crashed"
    PMSUSPENDED = "pmsuspended"
    DISK_SNAPSHOT = "disk-snapshot"

    @property
    def is_online(self) -> bool:
        """Whether a guest ran, so that its memory can be part of the snapshot."""
        return self in (SnapshotState.RUNNING, SnapshotState.PAUSED)


class SnapshotLocation(StrEnum):
    """Where a part of a snapshot is (virDomainSnapshotLocation)."""

    NO = "no"
    INTERNAL = "internal"
    EXTERNAL = "external"
    MANUAL = "manual"


LOCATIONS: Final = one_of(*SnapshotLocation)
#: Sources that no overlay can have.
NO_OVERLAY: Final = ("volume", "dir")


def _format(value: str) -> str:
    if value not in FORMATS.values:
        raise ConfError("config_unsupported", f"unknown disk snapshot driver '{value}'")
    return value


def _source_type(value: str) -> str:
    if SOURCE_TYPES(value) in NO_OVERLAY:
        raise ConfError("xml", f"unsupported disk snapshot type '{value}'")
    return value


@element("driver")
@dataclass(slots=True, kw_only=True)
class SnapshotDriver:
    """<driver>: the format of an overlay."""

    type: str | None = attribute("@type", read=_format, empty_is_absent=True)
    metadata_cache: CacheSize | None = child("metadata_cache/max_size", CacheSize)

    def before_write(self, mode: Mode) -> SnapshotDriver | None:
        """Leave out a driver that says nothing."""
        return None if self == SnapshotDriver() else self


@element("disk")
@dataclass(slots=True, kw_only=True)
class SnapshotDisk:
    """<disk>: how one disk takes part."""

    name: str = attribute(
        "@name", default="", required=Refusal("internal", "missing name from disk snapshot element")
    )
    snapshot: str | None = attribute("@snapshot", read=LOCATIONS)
    type: str | None = attribute("@type", read=_source_type)
    driver: SnapshotDriver | None = child("driver", SnapshotDriver)
    source: Source | None = child("source", Source)

    def after_read(self) -> None:
        """Fill in what follows from the other parts.

        Raises:
            ConfError: "xml": a path is relative.
        """
        self.type = self.type or "file"
        if self.source is not None:
            self.source.keep_type(self.type)
        path = self.path
        if path and self.type in ("file", "block") and not path.startswith("/"):
            detail = f"disk snapshot image path '{path}' must be absolute"
            raise ConfError("xml", detail, "disks/disk/source")
        if self.snapshot is None and (path or self.format):
            self.snapshot = SnapshotLocation.EXTERNAL

    @property
    def path(self) -> str:
        """The overlay's path, or its name on a server; "" for none."""
        return source_name(self.source) if self.source is not None else ""

    @property
    def format(self) -> str | None:
        """The overlay's format."""
        return self.driver.type if self.driver is not None else None

    @format.setter
    def format(self, value: str) -> None:
        self.driver = self.driver or SnapshotDriver()
        self.driver.type = value

    @property
    def is_external(self) -> bool:
        """Whether the disk gets an overlay."""
        return self.snapshot == SnapshotLocation.EXTERNAL

    @property
    def location(self) -> str:
        """What tells the overlay's place from others'."""
        return location(self.type or "file", self.source or Source())

    def before_write(self, mode: Mode) -> SnapshotDisk:
        """Write what an overlay has, where there is one."""
        if self.path or self.format:
            return self
        return SnapshotDisk(name=self.name, snapshot=self.snapshot)


@element("memory")
@dataclass(slots=True, kw_only=True)
class SnapshotMemory:
    """<memory>: where the guest's memory is."""

    snapshot: str | None = attribute("@snapshot", read=LOCATIONS)
    file: str | None = attribute("@file")

    def before_write(self, mode: Mode) -> SnapshotMemory | None:
        """Leave out an element that says nothing."""
        return self if self.snapshot is not None else None


@element("domainsnapshot")
@dataclass(slots=True, kw_only=True)
class Snapshot:
    """<domainsnapshot>."""

    name: str = text("name", default="")
    description: str | None = text("description")
    state: str | None = text("state")
    parent: str | None = text("parent/name")
    creation_time: int | None = text("creationTime", read=long_signed)  # seconds since the epoch
    memory: SnapshotMemory | None = child("memory", SnapshotMemory)
    disks: list[SnapshotDisk] = children("disks/disk", SnapshotDisk)
    revert_disks: list[SnapshotDisk] = children("revertDisks/disk", SnapshotDisk)
    domain: NestedDomain | None = field(default=None, compare=False)
    inactive_domain: NestedDomain | None = field(default=None, compare=False)
    is_deleted: bool = field(default=False, compare=False)  # merging its overlays was begun
    cookie: str | None = field(default=None, compare=False)  # what QEMU's machine needs, verbatim

    @property
    def kind(self) -> SnapshotState:
        """The state, which a snapshot that has been made always has."""
        return SnapshotState(self.state or SnapshotState.NOSTATE)

    @property
    def memory_location(self) -> str | None:
        """Where the memory is; None: it was not said."""
        return self.memory.snapshot if self.memory is not None else None

    @property
    def memory_file(self) -> str | None:
        """The file of an external memory state."""
        return self.memory.file if self.memory is not None else None

    @property
    def is_external(self) -> bool:
        """Whether any part of it is in a file of its own."""
        return self.memory_location == SnapshotLocation.EXTERNAL or any(
            disk.is_external for disk in self.disks
        )

    def disk(self, name: str) -> SnapshotDisk | None:
        """Return how a disk takes part, by its target's name."""
        return next((disk for disk in self.disks if disk.name == name), None)
