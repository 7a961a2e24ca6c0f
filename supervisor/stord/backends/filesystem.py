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
from supervisor.stord.backends.directory import DirectoryBackend
from supervisor.stord.backends.wipe_check import require_blank

MOUNT_S: Final = 45.0  # for a server to answer; mount itself would try for minutes
MKFS_S: Final = 3600.0
MOUNTINFO: Final = Path("/proc/self/mountinfo")  # reading it touches none of the mounts


class FilesystemBackend(DirectoryBackend):
    """A pool of type fs or netfs."""

    async def check(self) -> bool:
        """Whether the pool is mounted, and answers."""
        return self._mount() is not None and await super().check()

    async def start(self) -> None:
        """Mount; what is mounted there already is taken as it is.

        Raises:
            VirError: OPERATION_FAILED when something else is mounted there; INTERNAL_ERROR with
                what mount said.
        """
        if self._mount() is None:
            if self.context.pool.type is PoolType.NETFS:
                commands.find_program(mount_helper(self.context.pool.source.format or mounts.AUTO))
            await commands.run_ok(mounts.plan_mount(self.context.pool), deadline_s=MOUNT_S)
        await super().start()

    async def stop(self) -> None:
        """Unmount."""
        if self._mount() is not None:
            self.context.process.release()  # the pool's process may have its folder open
            await commands.run_ok(mounts.plan_unmount(self.context.pool), deadline_s=MOUNT_S)

    async def build(self, overwrite: Overwrite) -> None:
        """Make the folder to mount at; with overwrite flags a file system on the device, too.

        Raises:
            VirError: OPERATION_FAILED when the device has something on it.
        """
        pool = self.context.pool
        if pool.type is PoolType.NETFS or overwrite is Overwrite.UNSPECIFIED:
            await super().build(overwrite)
            return
        if (pool.source.format or mounts.AUTO) == mounts.AUTO:
            detail = f"pool '{pool.name}' names no format: say in <source> which is to be made"
            raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.STORAGE)
        commands.find_program(f"mkfs.{pool.source.format}")
        await self.make_directory()
        if overwrite is Overwrite.NO:
            await require_blank(mounts.mount_source(pool))
        await commands.run_ok(mounts.plan_mkfs(pool), deadline_s=MKFS_S)

    def _mount(self) -> mounts.Mount | None:
        mount = mounts.mounted_at(mounts.read_mounts(MOUNTINFO.read_text()), self.path)
        if mount is not None and not self._is_pool_source(mount):
            detail = (
                f"'{mount.source}' is mounted at '{self.path}', not '{self._source}': "
                "unmount it, or give the pool another target"
            )
            raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.STORAGE)
        return mount

    def _is_pool_source(self, mount: mounts.Mount) -> bool:
        source = self._source
        if self.context.pool.type is not PoolType.FS:
            return mount.source.rstrip("/") == source.rstrip("/") or mount.format == "autofs"
        return os.path.realpath(mount.source) == os.path.realpath(source)  # names in /dev

    @property
    def _source(self) -> str:
        return mounts.mount_source(self.context.pool)


def mount_helper(source_format: str) -> str:
    """The program that mount needs for a server's format."""
    return {"cifs": "mount.cifs", "glusterfs": "mount.glusterfs"}.get(source_format, "mount.nfs")


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
    output = await commands.run_ok(mounts.plan_exports(host), deadline_s=MOUNT_S)
    return format_sources(mounts.read_exports(output, host))
