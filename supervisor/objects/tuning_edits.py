"""What the tuning calls make of a domain, by the values of a client's typed parameters.

Owns: those edits, and the checks of values that need no host. Pure. domd edits definitions, the
worker the model of its guest, which it has at hand.
Source: libvirt 9.0, qemuDomainSetSchedulerParametersFlags, virDomainCgroupSetMemoryLimitParameters,
virDomainDriverParseBlkioDeviceStr, virDomainDriverMergeBlkioDevice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from conf.domain import Domain
from conf.domain.numatune import set_numa_memory
from conf.domain.tuning import BlkioDevice, Blkiotune, Cputune, Memtune
from conf.types.size import Amount
from rpc.enums import TypedParameterType as P
from supervisor.dispatch.service_errors import ServiceErrors
from supervisor.messages.worker import StatsParam

UNLIMITED_KIB: Final = 9007199254740991
BLKIO_DEVICE: Final = (
    "weight",
    "read_iops_sec",
    "write_iops_sec",
    "read_bytes_sec",
    "write_bytes_sec",
)
#: The fields of `Domain` that the tuning by a controller changes; "": a container's memory.
FIELDS: Final = {
    "cpu": ("cputune",),
    "memory": ("memtune",),
    "blkio": ("blkiotune",),
    "cpuset": ("numatune",),
    "": ("boot_memory", "current_memory"),
}
#: The attribute of <cputune> by parameter.
SCHEDULER_FIELDS: Final = {
    "cpu_shares": "shares",
    "vcpu_period": "period",
    "vcpu_quota": "quota",
    **{
        f"{who}_{what}": f"{who}_{what}"
        for who in ("global", "emulator", "iothread")
        for what in ("period", "quota")
    },
}
PERIODS: Final = (1000, 1000000)  # microseconds, as the quotas
QUOTAS: Final = (1000, 17592186044415)
SWAP_BELOW_MEMORY: Final = (
    "memory hard_limit tunable value must be lower than or equal to swap_hard_limit"
)
DEVICE_BITS: Final = {"read_bytes_sec": 64, "write_bytes_sec": 64}  # of the others 32


def edit_running(
    domain: Domain, controller: str, values: Mapping[str, int | str], errors: ServiceErrors
) -> None:
    """Set limits of a running guest.

    Args:
        domain: a copy of its model, as far as `FIELDS` says.
        controller: as in `SetTuning`.
        values: as in `SetTuning`.
        errors: the driver's.

    Raises:
        VirError: INVALID_ARG. ConfError: "config_unsupported": there would be no NUMA nodes.
    """
    numbers = {name: value for name, value in values.items() if isinstance(value, int)}
    words = {name: value for name, value in values.items() if isinstance(value, str)}
    match controller:
        case "cpu":
            edit_scheduler(domain, numbers, live=True)
        case "memory":
            check_memory_limits(numbers, domain, errors)
            edit_memory(domain, numbers, keeps_unlimited=True)
        case "blkio":
            edit_blkio(domain, values, errors)
        case "cpuset":
            set_numa_memory(domain, words.get("mode"), words.get("nodeset"))
        case _:
            edit_current_memory(domain, numbers["current_memory"], errors)


def edit_current_memory(domain: Domain, kib: int, errors: ServiceErrors) -> None:
    """Set the current memory of a container.

    Raises:
        VirError: INVALID_ARG: more than it may have.
    """
    if kib > domain.memory:
        detail = f"Cannot set memory ({kib} KiB) higher than max memory {domain.memory}"
        raise errors.invalid_arg(detail)
    domain.current_memory = Amount(amount=kib)


def check_bandwidth(values: Mapping[str, int], errors: ServiceErrors) -> None:
    """Refuse periods and quotas that the kernel cannot keep.

    Raises:
        VirError: INVALID_ARG.
    """
    for name, value in values.items():
        if name == "cpu_shares":
            continue
        least, most = PERIODS if name.endswith("_period") else QUOTAS
        if 0 < value < least or value > most:
            detail = f"value of '{name}' is out of range [{least}, {most}]"
            raise errors.invalid_arg(detail)


def edit_scheduler(domain: Domain, values: Mapping[str, int], *, live: bool) -> None:
    """Set CPU shares and bandwidth; 0 for a period or quota changes nothing of a running guest."""
    tune = domain.cputune = domain.cputune or Cputune()
    for name, value in values.items():
        if name == "cpu_shares":
            tune.shares = value
        elif value or not live:
            setattr(tune, SCHEDULER_FIELDS[name], value or None)


def scheduler_event(values: Mapping[str, int]) -> list[StatsParam]:
    """List the parameters of the TUNABLE event."""
    return [
        StatsParam(f"cputune.{name}", P.LLONG if name.endswith("quota") else P.ULLONG, value)
        for name, value in values.items()
        if value or name == "cpu_shares"
    ]


def check_memory_limits(values: Mapping[str, int], current: Domain, errors: ServiceErrors) -> None:
    """Refuse a swap_hard_limit below the hard_limit: the kernel does.

    Args:
        values: to be set, in KiB.
        current: the running guest, or the definition of one that is off: it has the other limit.
        errors: the driver's.

    Raises:
        VirError: INVALID_ARG.
    """
    if not {"hard_limit", "swap_hard_limit"} & values.keys():
        return
    tune = current.memtune or Memtune()
    hard, swap = (
        values.get(name, limit.amount if limit is not None else UNLIMITED_KIB)
        for name, limit in (
            ("hard_limit", tune.hard_limit),
            ("swap_hard_limit", tune.swap_hard_limit),
        )
    )
    if hard > swap:
        raise errors.invalid_arg(SWAP_BELOW_MEMORY)


def edit_memory(domain: Domain, values: Mapping[str, int], *, keeps_unlimited: bool) -> None:
    """Set memory limits, in KiB.

    Args:
        domain: to be edited.
        values: by parameter.
        keeps_unlimited: what is no limit stays in the XML: a running guest's is to be lifted, and a
            container without a limit has that of its memory.
    """
    tune = domain.memtune = domain.memtune or Memtune()
    for name, value in values.items():
        is_limit = 0 < value < UNLIMITED_KIB
        kept = is_limit or keeps_unlimited
        setattr(tune, name, Amount(amount=min(value, UNLIMITED_KIB)) if kept else None)


def edit_blkio(domain: Domain, values: Mapping[str, int | str], errors: ServiceErrors) -> None:
    """Set the block I/O weight, and weights and limits of devices.

    Raises:
        VirError: INVALID_ARG: a device's value cannot be parsed.
    """
    tune = domain.blkiotune = domain.blkiotune or Blkiotune()
    for name, value in values.items():
        if isinstance(value, int):
            tune.weight = value or None
            continue
        field = name.removeprefix("device_")
        for path, amount in parse_device_values(name, value, errors):
            device = next((each for each in tune.devices if each.path == path), None)
            if device is None:
                device = BlkioDevice(path=path)
                tune.devices.append(device)
            setattr(device, field, amount or None)
    tune.devices = [
        device for device in tune.devices if any(getattr(device, each) for each in BLKIO_DEVICE)
    ]


def parse_device_values(name: str, text: str, errors: ServiceErrors) -> list[tuple[str, int]]:
    """Parse "/dev/sda,500,/dev/sdb,300".

    Raises:
        VirError: INVALID_ARG.
    """
    words = text.split(",")
    if len(words) % 2:
        raise errors.invalid_arg(f"unable to parse blkio device '{name}' '{text}'")
    bits = DEVICE_BITS.get(name.removeprefix("device_"), 32)
    pairs = []
    for path, number in zip(words[::2], words[1::2], strict=True):
        if not (number.isascii() and number.isdigit() and int(number) < 1 << bits):
            detail = f"invalid value '{number}' for parameter '{name}' of device '{path}'"
            raise errors.invalid_arg(detail)
        pairs.append((path, int(number)))
    return pairs
