"""Pools that are mounted: fs, of a device; netfs, of a server.

Owns: mounting and unmounting, making file systems.
May touch: mounts at the pool's own path; the pool's own device, when it is built.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

from conf.errors import ConfError
from conf.storage import PoolType, format_sources, parse_source
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.errors import from_conf_error
from supervisor.dispatch.service_errors import STORAGE_ERRORS
from supervisor.stord import commands
from supervisor.stord.backends import mounts
from supervisor.stord.backends.base import Overwrite
from supervisor.stord.backends.directory import Folder
from supervisor.stord.backends.wipe_check import refuse_used

MOUNT_S: Final = 45.0  # for a server to answer; mount itself would try for minutes
MAKE_S: Final = 3600.0
MOUNTINFO: Final = Path("/proc/self/mountinfo")  # reading it touches none of the mounts


class Mounted(Folder):
    """A pool of type fs or netfs."""

    async def check(self) -> bool:
        """Whether the pool is mounted, and answers."""
        return self._mounted() is not None and await super().check()

    async def start(self) -> None:
        """Mount; what is mounted there already is taken as it is.

        Raises:
            VirError: OPERATION_FAILED when something else is mounted there; INTERNAL_ERROR with
                what mount said.
        """
        if self._mounted() is None:
            if self.means.pool.type is PoolType.NETFS:
                commands.find(helper_of(self.means.pool.source.format or mounts.AUTO))
            await commands.run_ok(mounts.plan_mount(self.means.pool), deadline_s=MOUNT_S)
        await super().start()

    async def stop(self) -> None:
        """Unmount."""
        if self._mounted() is not None:
            self.means.work.release()  # the pool's process may have its folder open
            await commands.run_ok(mounts.plan_unmount(self.means.pool), deadline_s=MOUNT_S)

    async def build(self, overwrite: Overwrite) -> None:
        """Make the folder to mount at; with overwrite flags a file system on the device, too.

        Raises:
            VirError: OPERATION_FAILED when the device has something on it.
        """
        pool = self.means.pool
        if pool.type is PoolType.NETFS or overwrite is Overwrite.UNSAID:
            await super().build(overwrite)
            return
        if (pool.source.format or mounts.AUTO) == mounts.AUTO:
            detail = f"pool '{pool.name}' names no format: say in <source> which is to be made"
            raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.STORAGE)
        commands.find(f"mkfs.{pool.source.format}")
        await self.make_folder()
        if overwrite is Overwrite.NO:
            await refuse_used(mounts.source_of(pool))
        await commands.run_ok(mounts.plan_make(pool), deadline_s=MAKE_S)

    def _mounted(self) -> mounts.Mount | None:
        found = mounts.mounted_at(mounts.read_mounts(MOUNTINFO.read_text()), self.path)
        if found is not None and not self._is_ours(found):
            detail = (
                f"'{found.source}' is mounted at '{self.path}', not '{self._from}': "
                "unmount it, or give the pool another target"
            )
            raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.STORAGE)
        return found

    def _is_ours(self, found: mounts.Mount) -> bool:
        wanted = self._from
        if self.means.pool.type is not PoolType.FS:
            return found.source.rstrip("/") == wanted.rstrip("/") or found.format == "autofs"
        return os.path.realpath(found.source) == os.path.realpath(wanted)  # names in /dev

    @property
    def _from(self) -> str:
        return mounts.source_of(self.means.pool)


def helper_of(form: str) -> str:
    """The program that mount needs for a server's format."""
    return {"cifs": "mount.cifs", "glusterfs": "mount.glusterfs"}.get(form, "mount.nfs")


async def find_exports(spec: str) -> str:
    """What an NFS server exports.

    Raises:
        VirError: INVALID_ARG: no server is named; CONFIG_UNSUPPORTED without showmount.
    """
    try:
        source = await asyncio.to_thread(parse_source, spec) if spec else None
    except ConfError as error:
        raise from_conf_error(error, ErrorDomain.STORAGE) from error
    if source is None or not source.hosts:
        raise STORAGE_ERRORS.invalid_arg("hostname must be specified for netfs sources")
    host = source.hosts[0].name or ""
    if host.startswith("-"):
        raise STORAGE_ERRORS.invalid_arg(f"'{host}' is no name of a host")
    said = await commands.run_ok(mounts.plan_exports(host), deadline_s=MOUNT_S)
    return format_sources(mounts.read_exports(said, host))
