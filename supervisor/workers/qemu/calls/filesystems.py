"""The guest's mounted file systems, by the guest agent: list, freeze, thaw, trim.

Owns: nothing. May touch: the agent.
Source: libvirt 9.0, virDomainGetFSInfo, virDomainFSFreeze, virDomainFSThaw, virDomainFSTrim.
"""

from __future__ import annotations

from typing import Final

from conf.domain.devices.devices import Devices
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Domain as DomainId
from rpc.values import DomainFsinfo
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.workers.qemu.agent import filesystems, guest_agent
from supervisor.workers.qemu.agent.replies import Filesystem
from supervisor.workers.qemu.guest import GuestProvider

MAX_FILESYSTEMS: Final = 256  # REMOTE_DOMAIN_FSINFO_MAX
MAX_DISKS: Final = 256  # REMOTE_DOMAIN_FSINFO_DISKS_MAX


class FilesystemCalls:
    """Calls on the guest's file systems."""

    def __init__(self, worker: GuestProvider) -> None:
        self._worker = worker

    async def domain_get_fsinfo(
        self, call: ClientCall, dom: DomainId, flags: int
    ) -> tuple[list[DomainFsinfo], int]:
        """Query the mounted file systems, and the domain's disks that each is on.

        Raises:
            VirError: INTERNAL_ERROR: more than the protocol takes; those of the agent.
        """
        guest = self._worker.guest()
        mounted = await filesystems.mounted(guest)
        _check_limit("mountpoints", len(mounted), MAX_FILESYSTEMS)
        infos = [to_fsinfo(filesystem, guest.domain.devices) for filesystem in mounted]
        return infos, len(infos)

    async def domain_fsfreeze(
        self, call: ClientCall, dom: DomainId, mountpoints: list[str], flags: int
    ) -> int:
        """Freeze the file systems mounted there, or all, and return their number.

        Raises:
            VirError: those of the agent.
        """
        return await filesystems.freeze(self._worker.guest(), mountpoints)

    async def domain_fsthaw(
        self, call: ClientCall, dom: DomainId, mountpoints: list[str], flags: int
    ) -> int:
        """Thaw all file systems, and return their number.

        Raises:
            VirError: those of the agent.
        """
        return await filesystems.thaw(self._worker.guest())

    async def domain_fstrim(
        self, call: ClientCall, dom: DomainId, mount_point: str | None, minimum: int, flags: int
    ) -> None:
        """Discard the unused blocks of all file systems.

        Raises:
            VirError: those of the agent.
        """
        guest = self._worker.guest()
        guest_agent.require_agent(guest)
        await filesystems.trim(guest, minimum)


def to_fsinfo(filesystem: Filesystem, devices: Devices) -> DomainFsinfo:
    """Convert the agent's reply; disks that the domain does not have are left out.

    Raises:
        VirError: INTERNAL_ERROR: more disks than the protocol takes.
    """
    _check_limit("disks", len(filesystem.disk), MAX_DISKS)
    targets = (address.target_in(devices) for address in filesystem.disk)
    return DomainFsinfo(
        filesystem.mountpoint,
        filesystem.name,
        filesystem.type,
        [target for target in targets if target is not None],
    )


def _check_limit(what: str, count: int, limit: int) -> None:
    if count > limit:
        detail = f"Too many {what} in fsinfo: {count} for limit {limit}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.RPC)
