"""Which capacity a volume gets when a client resizes it. Pure.

Source: libvirt 9.0's virStorageVolResize; the refusals are its own.
"""

from __future__ import annotations

from typing import Final

from rpc.enums import StorageVolResizeFlags as Resize
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.service_errors import STORAGE_ERRORS
from supervisor.stord.volume_info import VolumeInfo

MAX_BYTES: Final = 2**63 - 1


def target_capacity(volume: VolumeInfo, capacity: int, flags: int, available: int) -> int:
    """The capacity that a volume is to have, in bytes.

    Args:
        volume: as it is.
        capacity: what the client says: a size, or with DELTA a difference, which SHRINK takes away.
        flags: virStorageVolResizeFlags.
        available: bytes that the pool has left.

    Raises:
        VirError: INVALID_ARG, OPERATION_FAILED, OVERFLOW.
    """
    wanted = capacity
    if flags & Resize.DELTA:
        shrink = flags & Resize.SHRINK
        wanted = max(volume.capacity - capacity, 0) if shrink else volume.capacity + capacity
    if wanted > MAX_BYTES:
        detail = f"volume '{volume.name}' cannot have {wanted} bytes: {MAX_BYTES} are the most"
        raise VirError(ErrorCode.OVERFLOW, detail, ErrorDomain.STORAGE)
    if wanted < volume.allocation and wanted < volume.capacity:
        raise STORAGE_ERRORS.invalid_arg("can't shrink capacity below existing allocation")
    if wanted < volume.capacity and not flags & Resize.SHRINK:
        detail = "Can't shrink capacity below current capacity unless shrink flag is specified"
        raise STORAGE_ERRORS.invalid_arg(detail)
    if flags & Resize.ALLOCATE and wanted > volume.capacity + available:
        detail = f"Not enough space left in storage pool: {available} bytes are available"
        raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.STORAGE)
    return wanted
