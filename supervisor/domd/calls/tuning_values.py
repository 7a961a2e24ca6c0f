"""What the tuning queries return of a definition, by the names of libvirt's typed parameters.

Owns: the defaults where the definition says nothing. Pure.
Source: libvirt 9.0, virDomainGetMemoryParameters, virDomainGetBlkioParameters,
virDomainGetNumaParameters, virDomainGetBlockIoTune, virDomainGetSchedulerParameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Final

from conf.domain import Domain
from conf.domain.devices.disk import Disk, Iotune
from conf.domain.tuning import BlkioDevice, Cputune, Memtune
from rpc.enums import DomainNumatuneMemMode
from supervisor.objects.tuning_edits import BLKIO_DEVICE, UNLIMITED_KIB

MEMORY: Final = ("hard_limit", "soft_limit", "swap_hard_limit")
BLKIO: Final = ("weight", *(f"device_{name}" for name in BLKIO_DEVICE))
NUMA: Final = ("numa_mode", "numa_nodeset")
IOTUNE: Final = tuple(field.name for field in fields(Iotune))

Values = Mapping[str, int | str]


def scheduler_values(domain: Domain) -> Values:
    """Return the <cputune> values; 0 where there is none."""
    tune = domain.cputune or Cputune()
    values = {
        "cpu_shares": tune.shares,
        "vcpu_period": tune.period,
        "vcpu_quota": tune.quota,
        "global_period": tune.global_period,
        "global_quota": tune.global_quota,
        "emulator_period": tune.emulator_period,
        "emulator_quota": tune.emulator_quota,
        "iothread_period": tune.iothread_period,
        "iothread_quota": tune.iothread_quota,
    }
    return {name: value or 0 for name, value in values.items()}


def memory_values(domain: Domain) -> Values:
    """Return the <memtune> values in KiB."""
    tune = domain.memtune or Memtune()
    limits = (tune.hard_limit, tune.soft_limit, tune.swap_hard_limit)
    amounts = (limit.amount if limit is not None else UNLIMITED_KIB for limit in limits)
    return dict(zip(MEMORY, amounts, strict=True))


def blkio_values(domain: Domain) -> Values:
    """Return the <blkiotune> values: "/dev/sda,500" for those of devices, 0 for no weight."""
    tune = domain.blkiotune
    devices = tune.devices if tune is not None else []
    values: dict[str, int | str] = {"weight": (tune.weight or 0) if tune is not None else 0}
    return values | {f"device_{name}": device_values(devices, name) for name in BLKIO_DEVICE}


def device_values(devices: list[BlkioDevice], name: str) -> str:
    """Join the devices' values of one kind, leaving out devices that have none."""
    shares = ((device.path, getattr(device, name)) for device in devices)
    return ",".join(f"{path},{value}" for path, value in shares if value)


def numa_values(domain: Domain) -> Values:
    """Return <memory> of <numatune>; mode strict and no nodeset where there is none."""
    memory = domain.numatune.memory if domain.numatune is not None else None
    mode = memory.mode if memory is not None and memory.mode else "strict"
    return {
        "numa_mode": DomainNumatuneMemMode[mode.upper()],
        "numa_nodeset": (memory.nodeset or "") if memory is not None else "",
    }


def iotune_values(disk: Disk) -> Values:
    """Return a disk's <iotune>; 0 for no limit."""
    tune = disk.iotune or Iotune()
    values = {name: getattr(tune, name) or 0 for name in IOTUNE}
    return values | {"group_name": tune.group_name or ""}
