"""Statistics of one domain: memory, disks, interfaces, vCPUs.

Owns: nothing. May touch: QEMU, by QMP; /proc, /sys and images, to read.
Source: libvirt 9.0, virDomainMemoryStats, virDomainBlockStatsFlags and so on.
"""

from __future__ import annotations

import os
import stat
from typing import Final

from conf.domain.devices.disk import Disk
from rpc.enums import DomainDiskErrorCode, DomainMemoryStatTags
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.params import LLong, ULLong, params
from rpc.values import Domain as DomainId
from rpc.values import DomainDiskError, DomainMemoryStat, TypedParam, VcpuInfo
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.drivers.qemu import QEMU
from supervisor.runtime.procfs import interface_counters
from supervisor.workers.cgroups.cpu_table import cpu_table
from supervisor.workers.qemu.balloon import current_kib
from supervisor.workers.qemu.block.nodes import disk_path, is_drive_of
from supervisor.workers.qemu.cgroup.cpu_time import guest_cpu_times, guest_percpu_times
from supervisor.workers.qemu.guest import Guest, GuestProvider
from supervisor.workers.qemu.qmp.monitor import QmpError, Query
from supervisor.workers.qemu.qmp.replies import (
    BalloonInfo,
    BlockDeviceStats,
    BlockInfo,
    BlockStats,
    GuestStats,
)
from supervisor.workers.qemu.stats.sources import (
    balloon_stats,
    find_disk,
    resident_kib,
    vcpus,
)
from supervisor.workers.qemu.threads import vcpu_threads

BLOCKS: Final = Query("query-block", list[BlockInfo])
BLOCK_STATS: Final = Query("query-blockstats", list[BlockStats])
UNKNOWN: Final = -1  # an error count that QEMU does not keep
BLOCK_PARAMETERS: Final = (
    ("wr_bytes", "wr_bytes"),
    ("wr_operations", "wr_operations"),
    ("rd_bytes", "rd_bytes"),
    ("rd_operations", "rd_operations"),
    ("flush_operations", "flush_operations"),
    ("wr_total_times", "wr_total_time_ns"),
    ("rd_total_times", "rd_total_time_ns"),
    ("flush_total_times", "flush_total_time_ns"),
)


class Statistics:
    """Calls on the domain's statistics."""

    def __init__(self, worker: GuestProvider) -> None:
        self._worker = worker

    async def domain_memory_stats(
        self, call: ClientCall, dom: DomainId, max_stats: int, flags: int
    ) -> list[DomainMemoryStat]:
        """Collect memory statistics: balloon size, the balloon driver's, resident memory.

        Raises:
            VirError: OPERATION_TIMEOUT: QEMU does not reply.
        """
        guest = self._worker.guest()
        values: list[tuple[int, int]] = []
        balloon = guest.domain.devices.memballoon
        if balloon is not None and balloon.model != "none":
            actual = await _balloon_kib(guest)
            values.append((DomainMemoryStatTags.ACTUAL_BALLOON, actual))
            stats = await query_balloon_stats(guest)
            if stats is not None:
                values += balloon_stats(stats)
        values.append((DomainMemoryStatTags.RSS, resident_kib(guest.process.pid)))
        return [DomainMemoryStat(tag, value) for tag, value in values[:max_stats]]

    async def domain_block_stats(
        self, call: ClientCall, dom: DomainId, path: str
    ) -> tuple[int, int, int, int, int]:
        """Return a disk's requests and bytes, read and written; the sums for an empty path."""
        sums = await self._counters(path)
        counted = (sums.rd_operations, sums.rd_bytes, sums.wr_operations, sums.wr_bytes)
        return (*counted, UNKNOWN)

    async def domain_block_stats_flags(
        self, call: ClientCall, dom: DomainId, path: str, nparams: int, flags: int
    ) -> tuple[list[TypedParam], int]:
        """Return the same with times; the number of parameters for `nparams` 0."""
        sums = await self._counters(path)
        if nparams == 0:
            return [], len(BLOCK_PARAMETERS)
        named = {name: LLong(getattr(sums, field)) for name, field in BLOCK_PARAMETERS}
        values = params(named)[:nparams]
        return values, len(values)

    async def _counters(self, path: str) -> BlockDeviceStats:
        guest = self._worker.guest()
        disk = None if path == "" else _need_disk(guest, path)
        drives = await guest.replies.get_list(BLOCK_STATS, BlockStats)
        if disk is None:
            return add([drive.stats for drive in drives if drive.qdev])
        for drive in drives:
            if is_drive_of(disk, drive.qdev, drive.device):
                return drive.stats
        detail = f"cannot find statistics for device '{disk.alias}'"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU)

    async def domain_get_block_info(
        self, call: ClientCall, dom: DomainId, path: str, flags: int
    ) -> tuple[int, int, int]:
        """Return a disk's allocation, capacity and physical size, in bytes.

        Raises:
            VirError: INVALID_ARG: there is no such disk, or it has no medium.
        """
        guest = self._worker.guest()
        disk = _need_disk(guest, path)
        if not disk.chain():
            raise QEMU.errors.invalid_arg(
                f"disk '{path}' does not currently have a source assigned"
            )
        devices = await guest.replies.get_list(BLOCKS, BlockInfo)
        counters = await guest.replies.get_list(BLOCK_STATS, BlockStats)
        device = next(
            (drive for drive in devices if is_drive_of(disk, drive.qdev, drive.device)), None
        )
        capacity = device.inserted.image.virtual_size if device and device.inserted else 0
        counted = next(
            (drive for drive in counters if is_drive_of(disk, drive.qdev, drive.device)), None
        )
        highest = counted.parent.stats.wr_highest_offset if counted and counted.parent else 0
        allocation, physical = sizes(disk_path(disk), capacity, highest)
        return allocation, capacity, physical

    async def domain_get_disk_errors(
        self, call: ClientCall, dom: DomainId, maxerrors: int, flags: int
    ) -> tuple[list[DomainDiskError], int]:
        """List the disks whose I/O errors have stopped the guest; their maximum for 0."""
        guest = self._worker.guest()
        disks = guest.domain.devices.disks
        if maxerrors == 0:
            return [], len(disks)
        codes = {
            "failed": DomainDiskErrorCode.UNSPEC,
            "nospace": DomainDiskErrorCode.NO_SPACE,
        }
        devices = await guest.replies.get_list(BLOCKS, BlockInfo)
        errors = [
            DomainDiskError(disk.target.dev, codes[drive.io_status])
            for disk in disks
            for drive in devices
            if drive.io_status in codes and is_drive_of(disk, drive.qdev, drive.device)
        ][:maxerrors]
        return errors, len(errors)

    def domain_interface_stats(
        self, call: ClientCall, dom: DomainId, device: str
    ) -> tuple[int, int, int, int, int, int, int, int]:
        """Return an interface's counters, by its host device or MAC address.

        Raises:
            VirError: INVALID_ARG: there is no such interface.
        """
        for interface in self._worker.guest().domain.devices.interfaces:
            if device not in (interface.target_dev, interface.mac):
                continue
            name = interface.target_dev
            counters = interface_counters(name) if name else None
            if counters is None:
                raise QEMU.errors.operation_unsupported(
                    f"interface '{device}' of type '{interface.type}' has no device on the host "
                    "that counts"
                )
            rx, tx = counters[:4], counters[4:]
            return (*rx, *tx)  # type: ignore[return-value]  # eight, as counted above
        raise QEMU.errors.invalid_arg(f"'{device}' is not a known interface")

    async def domain_get_vcpus(
        self, call: ClientCall, dom: DomainId, maxinfo: int, maplen: int
    ) -> tuple[list[VcpuInfo], bytes]:
        """Return the vCPUs' times and CPU affinities."""
        guest = self._worker.guest()
        counted = list(vcpus(guest, await vcpu_threads(guest)))[:maxinfo]
        infos = [VcpuInfo(vcpu.number, vcpu.state, vcpu.time_ns, vcpu.cpu) for vcpu in counted]
        if maplen == 0:
            return infos, b""
        return infos, b"".join(affinity(vcpu.thread, maplen) for vcpu in counted)

    def domain_get_cpu_stats(
        self, call: ClientCall, dom: DomainId, nparams: int, start_cpu: int, ncpus: int, flags: int
    ) -> tuple[list[TypedParam], int]:
        """Return the CPU time of the whole domain, or its time on single CPUs of the host.

        Raises:
            VirError: OPERATION_UNSUPPORTED: times per host CPU without cgroups of version 1;
                INVALID_ARG: there is no such CPU.
        """
        guest = self._worker.guest()
        if start_cpu != -1:
            times = guest_percpu_times(guest)
            return cpu_table(times, nparams, start_cpu, ncpus, QEMU.errors)
        totals = guest_cpu_times(guest)
        named = {
            "cpu_time": ULLong(totals.total),
            "user_time": ULLong(totals.user),
            "system_time": ULLong(totals.system),
        }
        values = params(named)
        return ([], len(values)) if nparams == 0 else (values[:nparams], min(nparams, len(values)))


def _need_disk(guest: Guest, path: str) -> Disk:
    disk = find_disk(guest.domain, path)
    if disk is None:
        raise QEMU.errors.invalid_arg(f"invalid path: {path}")
    return disk


async def _balloon_kib(guest: Guest) -> int:
    """Query the guest's current memory, in KiB."""
    try:
        info = await guest.replies.get(Query("query-balloon", BalloonInfo), BalloonInfo)
    except QmpError:  # no balloon device
        return guest.domain.memory
    guest.balloon_kib = current_kib(guest.domain, info.actual)
    return guest.balloon_kib


async def query_balloon_stats(guest: Guest) -> GuestStats | None:
    """Query what the balloon driver has reported; None: no driver reports."""
    balloon = guest.domain.devices.memballoon
    if balloon is None or balloon.model == "none":
        return None
    arguments = {"path": f"/machine/peripheral/{balloon.alias}", "property": "guest-stats"}
    try:
        return await guest.replies.get(Query("qom-get", GuestStats, arguments), GuestStats)
    except QmpError:
        return None


def add(counters: list[BlockDeviceStats]) -> BlockDeviceStats:
    """Sum counters."""
    fields = BlockDeviceStats.__struct_fields__
    return BlockDeviceStats(
        **{name: sum(getattr(drive, name) for drive in counters) for name in fields}
    )


def sizes(path: str, capacity: int, highest: int) -> tuple[int, int]:
    """Return a file's allocation and size; QEMU's numbers for other sources."""
    try:
        status = os.stat(path)
    except OSError:
        return highest, capacity
    if stat.S_ISREG(status.st_mode):
        return status.st_blocks * 512, status.st_size
    return highest, capacity


def affinity(thread: int, length: int) -> bytes:
    """Return a thread's CPU affinity: a bit per CPU, little endian."""
    try:
        allowed = os.sched_getaffinity(thread)
    except OSError:
        allowed = set()
    bits = sum(1 << cpu for cpu in allowed if cpu < length * 8)
    return bits.to_bytes(length, "little")
