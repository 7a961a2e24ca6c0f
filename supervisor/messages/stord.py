"""Requests to stord: volumes of disks.

Clients' calls on pools and volumes are `supervisor.messages.calls.ClientRequest`.
"""

from __future__ import annotations

import msgspec

from ipc import Request


class ResolvedVolume(msgspec.Struct, frozen=True, kw_only=True):
    """A volume, as an emulator opens it."""

    type: str  # "file", "block", "dir" or "network", as of <disk type=''>
    path: str
    format: str  # "raw", "qcow2" …; "" where the pool's volumes have none


class ResolveVolume(Request[ResolvedVolume], frozen=True, kw_only=True, tag="stord.resolve_volume"):
    """Resolve a disk's <source pool='' volume=''/>; answered from memory.

    Errors: NO_STORAGE_POOL, NO_STORAGE_VOL; OPERATION_INVALID when the pool is not active.
    """

    deadline_s = 5.0
    pool: str
    volume: str
