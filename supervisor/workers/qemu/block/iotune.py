"""<iotune>: the QMP command that sets a drive's I/O limits. Pure.

Owns: the arguments of `block_set_io_throttle`.
May not touch: QEMU.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Final

from conf.domain.devices.disk import Disk, Iotune, is_empty
from supervisor.workers.qemu.block.nodes import drive_qdev

COMMAND: Final = "block_set_io_throttle"
#: Arguments that the command requires; 0 is no limit.
ALWAYS: Final = {
    "total_bytes_sec": "bps",
    "read_bytes_sec": "bps_rd",
    "write_bytes_sec": "bps_wr",
    "total_iops_sec": "iops",
    "read_iops_sec": "iops_rd",
    "write_iops_sec": "iops_wr",
}
#: QEMU's name of each limit in `query-block`, by libvirt's; bursts and their lengths follow it.
PARAMETERS: Final = {
    f"{name}{suffix}": f"{short}{suffix}"
    for name, short in ALWAYS.items()
    for suffix in ("", "_max", "_max_length")
} | {"size_iops_sec": "iops_size"}
QmpCommand = tuple[str, dict[str, object]]


def throttle_commands(disk: Disk) -> list[QmpCommand]:
    """List the commands that limit a drive; none without limits.

    QEMU refuses limits for an empty drive; they are set when it gets its medium.
    """
    tune = disk.iotune
    if tune is None or disk.source is None or is_empty(disk.source) or not is_limited(tune):
        return []
    return [(COMMAND, {"id": drive_qdev(disk), **throttle_arguments(tune)})]


def is_limited(tune: Iotune) -> bool:
    """Return whether any limit is set."""
    return any(getattr(tune, field.name) for field in fields(tune))


def throttle_arguments(tune: Iotune) -> dict[str, object]:
    """Return the command's arguments, without the drive."""
    arguments: dict[str, object] = {}
    for name, short in ALWAYS.items():
        arguments[short] = getattr(tune, name) or 0
        for suffix in ("_max", "_max_length"):
            amount = getattr(tune, f"{name}{suffix}")
            if amount:
                arguments[f"{short}{suffix}"] = amount
    if tune.size_iops_sec:
        arguments["iops_size"] = tune.size_iops_sec
    if tune.group_name:
        arguments["group"] = tune.group_name
    return arguments
