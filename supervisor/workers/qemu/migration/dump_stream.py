"""Have QEMU write its memory alone to a descriptor: `dump-guest-memory`.

Owns: the QMP commands of that, and the wait for their end. May touch: QEMU, by QMP.
Source: QEMU 7.2, "dump-guest-memory", "query-dump"; libvirt 9.0, qemuDumpToFd.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import msgspec

from rpc.enums import DomainCoreDumpFormat as Format
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.objects.job import JobProgress
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.migration.stream import (
    CANCEL_S,
    MAX_REASON,
    OUT,
    OnProgress,
    Polled,
    wait_outgoing,
)
from supervisor.workers.qemu.migration.watch import COMPLETED
from supervisor.workers.qemu.qmp.monitor import QmpError

#: QEMU's names of libvirt's formats.
FORMATS: Final = {
    Format.RAW: "elf",
    Format.KDUMP_ZLIB: "kdump-zlib",
    Format.KDUMP_LZO: "kdump-lzo",
    Format.KDUMP_SNAPPY: "kdump-snappy",
    Format.WIN_DMP: "win-dmp",
}
ACTIVE: Final = "active"


class _DumpInfo(msgspec.Struct, frozen=True):
    """`query-dump`; in bytes."""

    status: str = ""
    completed: int = 0
    total: int = 0


class _Capability(msgspec.Struct, frozen=True):
    formats: list[str] = []


async def dump_to_fd(guest: Guest, fd: int, dump_format: Format, on_progress: OnProgress) -> None:
    """Write the guest's memory to a pipe or file; its vCPUs wait meanwhile.

    It cannot be cancelled but by the other end of the pipe.

    Args:
        guest: running or paused.
        fd: where to; it stays the caller's.
        dump_format: of the file.
        on_progress: called some times a second, and once at the end.

    Raises:
        VirError: INVALID_ARG: this QEMU does not have the format; OPERATION_FAILED: QEMU failed.
    """
    monitor = guest.monitor
    name = FORMATS[dump_format]
    known = await monitor.query("query-dump-guest-memory-capability", _Capability)
    if name not in known.formats:
        detail = f"unsupported dumpformat '{name}' for this QEMU binary"
        raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.QEMU)
    guest.migration.set(ACTIVE)
    await monitor.execute("getfd", {"fdname": OUT}, fd=fd)
    # paging=False: physical memory, without the page tables of a kernel that may have crashed.
    arguments = {"paging": False, "protocol": f"fd:{OUT}", "detach": True, "format": name}
    try:
        await monitor.execute("dump-guest-memory", arguments)
    except QmpError:
        with contextlib.suppress(VirError):
            await monitor.execute("closefd", {"fdname": OUT})
        raise

    async def poll() -> Polled:
        info = await monitor.query("query-dump", _DumpInfo)
        progress = JobProgress(
            memory_total=info.total,
            memory_processed=info.completed,
            memory_remaining=max(0, info.total - info.completed),
        )
        return Polled(info.status, guest.migration.error, progress)

    ended = await wait_outgoing(guest, poll, on_progress)
    guest.migration.set("")
    if ended.status != COMPLETED:
        reason = ended.error[:MAX_REASON] or "unknown reason"
        detail = f"memory-only dump failed: {reason}"
        raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.QEMU)


async def wait_no_dump(guest: Guest) -> None:
    """Wait until QEMU has noticed that nobody reads its dump any more.

    Raises:
        VirError: QEMU does not reply; OPERATION_TIMEOUT: it goes on.
    """
    try:
        async with asyncio.timeout(CANCEL_S):
            # Of a predecessor's dump no event may come.
            while (await guest.monitor.query("query-dump", _DumpInfo)).status == ACTIVE:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    except TimeoutError:
        detail = f"QEMU of '{guest.name}' does not end its dump"
        raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.QEMU) from None
