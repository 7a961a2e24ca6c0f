"""Changing a disk's I/O limits: what a change leaves as it was, and disks that share a group. Pure.

Owns: <iotune> of the disks. May touch: the domain it is given, in place; the caller owns it alone.
Source: libvirt 9.0, qemuDomainSetBlockIoTune, qemuDomainSetBlockIoTuneDefaults,
qemuDomainFindGroupBlockIoTune; measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Final

from conf.domain.devices.disk import Disk, Iotune
from conf.domain.model import Domain
from conf.errors import ConfError

MAXIMUM: Final = 1000000000000000  # of every limit
KINDS: Final = ("bytes_sec", "iops_sec")
WHO: Final = ("total", "read", "write")
#: A change of one value of a family sets the others of the family to what it says of them, or 0.
FAMILIES: Final = (
    *(tuple(f"{who}_{kind}" for who in WHO) for kind in KINDS),
    *(tuple(f"{who}_{kind}_max" for who in WHO) for kind in KINDS),
    ("size_iops_sec",),
    ("group_name",),
)
LENGTHS: Final = tuple(tuple(f"{who}_{kind}" for who in WHO) for kind in KINDS)

Values = Mapping[str, int | str]


def check_values(values: Values) -> None:
    """Refuse values that no disk can have.

    Raises:
        ConfError: "argument_unsupported", "invalid_arg".
    """
    for value in values.values():
        if isinstance(value, int) and value > MAXIMUM:
            detail = f"block I/O throttle limit value must be no more than {MAXIMUM}"
            raise ConfError("argument_unsupported", detail)
    for suffix in ("", "_max"):
        for kind in KINDS:
            total, *parts = (values.get(f"{who}_{kind}{suffix}") for who in WHO)
            if total and any(parts):
                detail = f"total and read/write of {kind}{suffix} cannot be set at the same time"
                raise ConfError("invalid_arg", detail)


def set_iotune(domain: Domain, disk: Disk, values: Values) -> Iotune:
    """Change the limits of a disk, and of those that share its group then.

    Args:
        domain: the disk's.
        disk: to be limited.
        values: by the names of libvirt's parameters, checked.

    Returns:
        The limits that the disk has now; 0 is no limit.
    """
    before = _inherited(domain.devices.disks, disk, values)
    after = _merged(before, values)
    shared = [
        other
        for other in domain.devices.disks
        if other is disk or (after.group_name and _group(other) == after.group_name)
    ]
    for other in shared:
        other.iotune = _without_zeros(after)
    return after


def _inherited(disks: Iterable[Disk], disk: Disk, values: Values) -> Iotune:
    """Return what the change starts from: the disk's limits, or those of the group it joins."""
    group = values.get("group_name")
    if group and group != _group(disk):
        for other in disks:
            if _group(other) == group and other.iotune is not None:
                return other.iotune
    return disk.iotune or Iotune()


def _group(disk: Disk) -> str | None:
    return disk.iotune.group_name if disk.iotune is not None else None


def _merged(before: Iotune, values: Values) -> Iotune:
    after = Iotune()
    for family in FAMILIES:
        changed = any(name in values for name in family)
        for name in family:
            setattr(after, name, values.get(name) if changed else getattr(before, name))
    for family in LENGTHS:
        changed = any(f"{name}_max_length" in values for name in family)
        for name in family:
            field = f"{name}_max_length"
            former = getattr(before, field)
            length = values.get(field) if changed else former
            if changed and former and not length:
                # QEMU takes no length of 0 beside a limit: 1 s is what it has without one.
                length = 1 if getattr(after, name) or getattr(after, f"{name}_max") else None
            setattr(after, field, length)
    return after


def _without_zeros(tune: Iotune) -> Iotune | None:
    zeros = {field.name: None for field in fields(tune) if not getattr(tune, field.name)}
    return None if len(zeros) == len(fields(tune)) else replace(tune, **zeros)


def check_bursts(tune: Iotune) -> None:
    """Refuse bursts that QEMU does not take.

    Raises:
        ConfError: "config_unsupported".
    """
    for kind in KINDS:
        for who in WHO:
            name = f"{who}_{kind}"
            least, most = getattr(tune, name) or 0, getattr(tune, f"{name}_max") or 0
            if most and not least:
                detail = f"cannot reset '{name}' when '{name}_max' is set"
                raise ConfError("config_unsupported", detail)
            if most and most < least:
                detail = f"value '{name}_max' cannot be smaller than '{name}'"
                raise ConfError("config_unsupported", detail)
