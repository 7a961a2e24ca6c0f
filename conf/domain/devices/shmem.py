"""<shmem>: memory shared between guests.

Source: libvirt 9.0 formatdomain, "Shared memory device".
"""

from __future__ import annotations

from dataclasses import dataclass

from conf.domain.devices.address import ADDRESSES, Address, by_user
from conf.mapper import attribute, child, element
from conf.types.bool import on_off, write_on_off
from conf.types.enum import one_of
from conf.types.integer import uint
from conf.types.size import Amount


@element("shmem")
@dataclass(slots=True, kw_only=True)
class Shmem:
    """<shmem>: memory shared between guests."""

    name: str = attribute("@name", default="")
    role: str | None = attribute("@role", read=one_of("master", "peer"))
    model: str | None = attribute(
        "model/@type", read=one_of("ivshmem", "ivshmem-plain", "ivshmem-doorbell")
    )
    size: Amount | None = child("size", Amount)
    server_path: str | None = attribute("server/@path")
    msi: bool | None = attribute("msi/@enabled", read=on_off, write=write_on_off, present=True)
    vectors: int | None = attribute("msi/@vectors", read=uint)
    ioeventfd: bool | None = attribute("msi/@ioeventfd", read=on_off, write=write_on_off)
    alias: str | None = attribute("alias/@name", only="live", always=by_user)
    address: Address | None = child("address", ADDRESSES)
    boot_order: int | None = None
