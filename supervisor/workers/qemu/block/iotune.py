"""<iotune>: what the emulator is told of a drive's limits. Pure.

Owns: the arguments of `block_set_io_throttle`.
May not touch: the emulator.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Final

from conf.domain.devices.disk import Disk, Iotune, is_empty
from supervisor.workers.qemu.block.nodes import drive_qdev

COMMAND: Final = "block_set_io_throttle"
#: Limits that the command always wants; 0 is no limit.
ALWAYS: Final = {
    "total_bytes_sec": "bps",
    "read_bytes_sec": "bps_rd",
    "write_bytes_sec": "bps_wr",
    "total_iops_sec": "iops",
    "read_iops_sec": "iops_rd",
    "write_iops_sec": "iops_wr",
}
QmpCommand = tuple[str, dict[str, object]]


def throttle_commands(disk: Disk) -> list[QmpCommand]:
    """What limits a drive; nothing for one without limits or without a medium."""
    tune = disk.iotune
    if tune is None or disk.source is None or is_empty(disk.source) or not is_limited(tune):
        return []
    return [(COMMAND, {"id": drive_qdev(disk), **throttle_arguments(tune)})]


def is_limited(tune: Iotune) -> bool:
    """Whether there is any limit."""
    return any(getattr(tune, field.name) for field in fields(tune))


def throttle_arguments(tune: Iotune) -> dict[str, object]:
    """The command's arguments but the drive."""
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
