"""<permissions>: owner, group, mode and label of a pool's directory or a volume.

Source: libvirt 9.0 formatstorage, "Target elements".
"""

from __future__ import annotations

from dataclasses import dataclass

from conf.mapper import element, text
from conf.storage.attributes import group_id, octal_mode, owner_id
from conf.types.mode import format_mode


@element("permissions")
@dataclass(slots=True, kw_only=True)
class Permissions:
    """<permissions>; None is the host's default."""

    mode: int | None = text("mode", read=octal_mode, write=format_mode)
    owner: int | None = text("owner", read=owner_id, read_empty=True)
    group: int | None = text("group", read=group_id, read_empty=True)
    label: str | None = text("label", omit="")

    @property
    def is_empty(self) -> bool:
        """Return whether no element is set."""
        return self.mode is None and self.owner is None and self.group is None and not self.label
