"""<permissions>: who owns a pool's folder or a volume, and what others may do.

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
    """<permissions>; None leaves a matter to the host."""

    mode: int | None = text("mode", read=octal_mode, write=format_mode)
    owner: int | None = text("owner", read=owner_id)
    group: int | None = text("group", read=group_id)
    label: str | None = text("label", omit="")

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked for."""
        return self.mode is None and self.owner is None and self.group is None and not self.label
