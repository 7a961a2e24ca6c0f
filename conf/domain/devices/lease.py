"""<lease>: a lock that the guest holds.

Source: libvirt 9.0 formatdomain, "Device leases".
"""

from __future__ import annotations

from dataclasses import dataclass

from conf.mapper import attribute, element, text
from conf.types.integer import uint


@element("lease")
@dataclass(slots=True, kw_only=True)
class Lease:
    """<lease>: a lock that the guest holds."""

    lockspace: str | None = text("lockspace")
    key: str = text("key", default="")
    target_path: str | None = attribute("target/@path")
    target_offset: int | None = attribute("target/@offset", read=uint)
