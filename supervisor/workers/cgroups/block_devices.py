"""The numbers by which the block I/O controller knows the host's devices.

Owns: looking them up. May touch: device nodes, to read their status.
Source: libvirt 9.0, virCgroupGetBlockDevString.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from conf.domain.tuning import BlkioDevice
from rpc.errors import ErrorCode, ErrorDomain, VirError


def block_device_numbers(devices: Iterable[BlkioDevice]) -> dict[str, str]:
    """Read the numbers of the devices that a <blkiotune> names, "MAJOR:MINOR" by path.

    Raises:
        VirError: SYSTEM_ERROR: the path is missing, or no block device.
    """
    return {path: block_device_number(path) for device in devices if (path := device.path)}


def block_device_number(path: str) -> str:
    """Read the number of one device.

    Raises:
        VirError: SYSTEM_ERROR: the path is missing, or no block device.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        detail = f"Path '{path}' is not accessible: {error.strerror}"
        raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.CGROUP) from error
    if not stat.S_ISBLK(status.st_mode):
        detail = f"Path '{path}' must be a block device: Invalid argument"
        raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.CGROUP)
    return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
