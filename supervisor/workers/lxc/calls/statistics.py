"""Statistics calls of one container.

Owns: nothing. May touch: cgroups and /proc, to read.
Source: libvirt 9.0's lxc driver: virDomainMemoryStats, virDomainGetCPUStats and others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from conf.domain import Domain
from conf.domain.devices.disk import Disk
from conf.types.size import KIB
from rpc.enums import DomainMemoryStatTags as Tag
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.params import LLong, ULLong, params
from rpc.values import Domain as DomainId
from rpc.values import DomainMemoryStat, TypedParam
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.drivers.lxc import LXC
from supervisor.runtime.procfs import interface_counters
from supervisor.workers.cgroups import readings
from supervisor.workers.cgroups.cpu_table import cpu_table
from supervisor.workers.lxc import stats
from supervisor.workers.lxc.calls.consoles import ContainerProvider
from supervisor.workers.lxc.checks import device_number
from supervisor.workers.lxc.container import Container

UNKNOWN: Final = -1  # an error count that the kernel does not keep
BLOCK_PARAMETERS: Final = {
    "rd_bytes": "rd_bytes",
    "rd_operations": "rd_req",
    "wr_bytes": "wr_bytes",
    "wr_operations": "wr_req",
}
#: The kernel's names in memory.stat of version 1 and 2, and the divisor to libvirt's unit.
MEMORY: Final = (
    (Tag.SWAP_IN, ("swap", "total_swap"), KIB),
    (Tag.DISK_CACHES, ("cache", "file"), KIB),
    (Tag.MAJOR_FAULT, ("pgmajfault",), 1),
    (Tag.MINOR_FAULT, ("pgfault",), 1),
)


class Statistics:
    """Answers the statistics calls."""

    def __init__(self, worker: ContainerProvider) -> None:
        """Answer for the worker's container."""
        self._worker = worker

    def domain_memory_stats(
        self, call: ClientCall, dom: DomainId, max_stats: int, flags: int
    ) -> list[DomainMemoryStat]:
        """Read the memory statistics of the container's cgroup."""
        values = list(memory_stats(self._worker.guest()))
        return [DomainMemoryStat(tag, value) for tag, value in values[:max_stats]]

    def domain_get_cpu_stats(
        self, call: ClientCall, dom: DomainId, nparams: int, start_cpu: int, ncpus: int, flags: int
    ) -> tuple[list[TypedParam], int]:
        """Read the CPU time on all CPUs of the host or on single ones.

        Raises:
            VirError: INVALID_ARG; OPERATION_UNSUPPORTED: cgroups version 2.
        """
        group = self._worker.guest().cgroup
        if start_cpu != -1:
            times = readings.percpu_times(group)
            named = {"cpu_time": times} if times else {}
            return cpu_table(named, nparams, start_cpu, ncpus, LXC.errors)
        total = readings.cpu_times(group)
        totals = params(
            {
                "cpu_time": ULLong(total.total),
                "user_time": ULLong(total.user),
                "system_time": ULLong(total.system),
            }
        )
        return ([], len(totals)) if nparams == 0 else (totals[:nparams], min(nparams, len(totals)))

    def domain_block_stats(
        self, call: ClientCall, dom: DomainId, path: str
    ) -> tuple[int, int, int, int, int]:
        """Read a disk's requests and bytes, read and written; of all disks for an empty path."""
        sums = self._counters(path)
        return sums["rd_req"], sums["rd_bytes"], sums["wr_req"], sums["wr_bytes"], UNKNOWN

    def domain_block_stats_flags(
        self, call: ClientCall, dom: DomainId, path: str, nparams: int, flags: int
    ) -> tuple[list[TypedParam], int]:
        """Read the same as typed parameters; their number for `nparams` 0."""
        sums = self._counters(path)
        if nparams == 0:
            return [], len(BLOCK_PARAMETERS)
        named = {name: LLong(sums[field]) for name, field in BLOCK_PARAMETERS.items()}
        counters = params(named)[:nparams]
        return counters, len(counters)

    def _counters(self, path: str) -> dict[str, int]:
        container = self._worker.guest()
        if path == "":
            return stats.block_counters(container.group)
        source = find_disk(container.domain, path)
        return stats.block_counters(container.group, device_number(source))

    def domain_interface_stats(
        self, call: ClientCall, dom: DomainId, device: str
    ) -> tuple[int, int, int, int, int, int, int, int]:
        """Read an interface's counters, by the host's device or the MAC address.

        Raises:
            VirError: INVALID_ARG: there is no such interface; OPERATION_UNSUPPORTED: it has no
                device on the host.
        """
        for interface in self._worker.guest().domain.devices.interfaces:
            if device not in (interface.target_dev, interface.mac):
                continue
            counters = interface_counters(interface.target_dev or "")
            if counters is None:
                detail = (
                    f"interface '{device}' of type '{interface.type}' has no device on the host "
                    "with counters"
                )
                raise VirError(ErrorCode.OPERATION_UNSUPPORTED, detail, ErrorDomain.LXC)
            return (*counters[:4], *counters[4:8])  # type: ignore[return-value]  # eight
        raise LXC.errors.invalid_arg(f"'{device}' is not a known interface")


def memory_stats(container: Container) -> Iterator[tuple[int, int]]:
    """Read the memory statistics of a container, in KiB or counts."""
    domain, counted = container.domain, readings.memory_stat(container.cgroup)
    current = domain.current_memory.amount if domain.current_memory else domain.memory
    yield Tag.ACTUAL_BALLOON, current
    yield Tag.RSS, readings.memory_kib(container.cgroup)
    for tag, names, unit in MEMORY:
        value = next((counted[name] for name in names if name in counted), None)
        if value is not None:
            yield tag, value // unit


def find_disk(domain: Domain, path: str) -> str:
    """Find the host's block device of a disk, by its target or its source.

    Raises:
        VirError: INVALID_ARG: there is none.
    """

    def source(disk: Disk) -> str:
        return (disk.source.dev if disk.source is not None else None) or ""

    for disk in domain.devices.disks:
        if path in (disk.target.dev, source(disk)):
            return source(disk)
    raise LXC.errors.invalid_arg(f"No device found for specified path '{path}'")
