"""`query-migrate`, and the progress of a job that it tells.

Owns: the types and the conversion. Pure.
Source: QEMU 7.2, MigrationInfo; libvirt 9.0's typed parameters of a job (virDomainJobStats).
"""

from __future__ import annotations

from typing import Final

import msgspec

from supervisor.objects.job import JobProgress

MBIT: Final = 1_000_000 / 8  # bytes


class MigrationRam(msgspec.Struct, frozen=True, rename="kebab"):
    """Memory of a migration; sizes in bytes."""

    transferred: int = 0
    remaining: int = 0
    total: int = 0
    duplicate: int = 0  # pages of one value
    normal: int = 0
    normal_bytes: int = 0
    dirty_pages_rate: int = 0
    mbps: float = 0.0
    dirty_sync_count: int = 0
    postcopy_requests: int = 0
    page_size: int = 0


class MigrationInfo(msgspec.Struct, frozen=True, rename="kebab"):
    """`query-migrate`; times in ms."""

    status: str = ""
    ram: MigrationRam | None = None
    total_time: int = 0
    downtime: int | None = None
    expected_downtime: int | None = None
    setup_time: int | None = None
    error_desc: str = ""
    blocked_reasons: list[str] = []


def progress_of(info: MigrationInfo) -> JobProgress:
    """Return the progress that clients get."""
    ram = info.ram or MigrationRam()
    downtime = info.downtime if info.downtime is not None else info.expected_downtime
    return JobProgress(
        downtime=downtime,
        setup_time=info.setup_time,
        memory_total=ram.total,
        memory_processed=ram.transferred,
        memory_remaining=ram.remaining,
        memory_bps=max(0, int(ram.mbps * MBIT)),
        memory_constant=ram.duplicate,
        memory_normal=ram.normal,
        memory_normal_bytes=ram.normal_bytes,
        memory_dirty_rate=ram.dirty_pages_rate,
        memory_iteration=ram.dirty_sync_count,
        memory_postcopy_requests=ram.postcopy_requests,
        memory_page_size=ram.page_size,
    )
