"""Disks of type='volume': asking stord where the volumes are.

Owns: what such a disk's source stands for while the guest runs; its document stays as it is.
May touch: stord over the bus.
"""

from __future__ import annotations

from collections.abc import Iterable

from conf.domain.devices.disk import Disk
from conf.errors import ConfError
from ipc import Link
from supervisor.messages.stord import ResolveVolume


async def resolve_volumes(stord: Link, disks: Iterable[Disk]) -> None:
    """Note in each source of type volume which file or device it is.

    Raises:
        VirError: NO_STORAGE_POOL, NO_STORAGE_VOL; OPERATION_INVALID when the pool is off.
        ConfError: "config_unsupported" for a volume that is no file or device.
    """
    for disk in disks:
        for source, _, _ in disk.chain():
            if source.pool is None or source.volume is None:
                continue
            request = ResolveVolume(pool=source.pool, volume=source.volume)
            volume = await stord.call(request)
            if volume.type not in ("file", "block") or source.mode == "direct":
                detail = (
                    f"volume '{source.volume}' of pool '{source.pool}' cannot be a disk: only "
                    "files and devices of the host can, in mode 'host'"
                )
                raise ConfError("config_unsupported", detail, "disk/source")
            source.type, source.place = volume.type, volume.path
