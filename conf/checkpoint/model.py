"""<domaincheckpoint>: a moment since which the writes to a domain's disks are noted.

Owns: the model. May not touch: files, the host; the domain inside is kept as text.
Source: libvirt 9.0 formatcheckpoint.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from conf.mapper import Refusal, attribute, children, element, text
from conf.moment.nested_domain import NestedDomain
from conf.types.enum import one_of
from conf.types.integer import long_signed


class CheckpointType(StrEnum):
    """How a disk takes part (virDomainCheckpointType)."""

    NO = "no"
    BITMAP = "bitmap"


@element("disk")
@dataclass(slots=True, kw_only=True)
class CheckpointDisk:
    """<disk>: how one disk takes part."""

    name: str = attribute(
        "@name", default="", required=Refusal("xml", "missing name from disk checkpoint element")
    )
    checkpoint: str = attribute(
        "@checkpoint",
        read=one_of(*CheckpointType, unknown="unknown disk checkpoint setting '{}'"),
        default=CheckpointType.BITMAP,
    )
    bitmap: str | None = attribute("@bitmap")
    size: int | None = attribute("@size", read=long_signed)  # bytes written since; never kept

    def after_read(self) -> None:
        """Forget what libvirt does not read."""
        self.size = None
        if not self.has_bitmap:
            self.bitmap = None

    @property
    def has_bitmap(self) -> bool:
        """Whether writes to the disk are noted."""
        return self.checkpoint == CheckpointType.BITMAP


@element("domaincheckpoint")
@dataclass(slots=True, kw_only=True)
class Checkpoint:
    """<domaincheckpoint>."""

    name: str = text("name", default="")
    description: str | None = text("description")
    parent: str | None = text("parent/name")
    creation_time: int | None = text(
        "creationTime", read=long_signed, omit=0
    )  # seconds since the epoch
    disks: list[CheckpointDisk] = children("disks/disk", CheckpointDisk)
    domain: NestedDomain | None = field(default=None, compare=False)

    @property
    def noted(self) -> list[str]:
        """The targets of the disks whose writes are noted."""
        return [disk.name for disk in self.disks if disk.has_bitmap]
