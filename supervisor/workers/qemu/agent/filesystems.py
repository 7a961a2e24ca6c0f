"""Freezing, thawing and trimming the guest's file systems, by its agent.

Owns: one function each, for clients' calls and for snapshots that quiesce the guest.
May touch: the agent.
Source: libvirt 9.0, qemuSnapshotFSFreeze, qemuSnapshotFSThaw, qemuAgentFSTrim.

They wait as long as the guest's disks take: a deadline of our own would leave a guest frozen that
nobody thaws.
"""

from __future__ import annotations

from collections.abc import Sequence

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers.qemu.agent import guest_agent
from supervisor.workers.qemu.agent.replies import Filesystem
from supervisor.workers.qemu.guest import Guest


async def freeze(guest: Guest, mountpoints: Sequence[str] = ()) -> int:
    """Freeze the file systems mounted there, or all; return how many the agent has frozen.

    Raises:
        VirError: as `guest_agent.execute`; INTERNAL_ERROR: the number is none.
    """
    if mountpoints:
        command, arguments = "guest-fsfreeze-freeze-list", {"mountpoints": list(mountpoints)}
        return await _count(guest, command, arguments)
    return await _count(guest, "guest-fsfreeze-freeze")


async def thaw(guest: Guest) -> int:
    """Thaw all file systems; return how many the agent has thawed. Raises as `freeze`."""
    return await _count(guest, "guest-fsfreeze-thaw")


async def _count(guest: Guest, command: str, arguments: dict[str, list[str]] | None = None) -> int:
    count = await guest_agent.query(guest, command, int, arguments, long=True)
    if not 0 <= count < 1 << 31:
        detail = f"malformed return value of {command} from the agent of '{guest.name}': {count}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU)
    return count


async def trim(guest: Guest, minimum: int) -> None:
    """Discard the unused blocks of all file systems.

    Args:
        guest: whose.
        minimum: the least number of contiguous bytes that is worth it.

    Raises:
        VirError: as `guest_agent.execute`.
    """
    await guest_agent.execute(guest, "guest-fstrim", {"minimum": minimum}, long=True)


async def mounted(guest: Guest) -> list[Filesystem]:
    """List the mounted file systems in the order of their mounts. Raises as `guest_agent.query`."""
    filesystems = await guest_agent.query(guest, "guest-get-fsinfo", list[Filesystem])
    return filesystems[::-1]  # the agent begins with the last
