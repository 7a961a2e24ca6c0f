"""File system pools: fs (block device) and netfs (NFS, CIFS, GlusterFS).

Owns: mount, umount, mkfs.
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

MOUNT_S: Final = 45.0  # mount.nfs itself retries for two minutes
MKFS_S: Final = 3600.0
MOUNTINFO: Final = Path(
    "/proc/self/mountinfo"
)  # unlike stat, reading it never blocks on a dead server


class FilesystemBackend(DirectoryBackend):
    """Storage of a pool of type fs or netfs."""

    async def check(self) -> bool:
        """Return whether the pool is mounted and its directory readable."""
        return self._mount() is not None and await super().check()

    async def start(self) -> None:
        """Mount the source unless it is mounted already.

        Raises:
            VirError: OPERATION_FAILED when another source is mounted there; INTERNAL_ERROR with
                mount's message.
        """
        if self._mount() is None:
            if self.context.pool.type is PoolType.NETFS:
                commands.find_program(mount_helper(self.context.pool.source.format or mounts.AUTO))
            await commands.run_ok(mounts.plan_mount(self.context.pool), deadline_s=MOUNT_S)
        await super().start()

    async def stop(self) -> None:
        """Unmount."""
        if self._mount() is not None:
            self.context.process.release()  # an open directory makes umount fail with EBUSY
            await commands.run_ok(mounts.plan_unmount(self.context.pool), deadline_s=MOUNT_S)

    async def build(self, overwrite: Overwrite) -> None:
        """Create the mount point; with overwrite flags a file system on the device, too.

        Raises:
            VirError: OPERATION_FAILED when the device contains data.
        """
        pool = self.context.pool
        if pool.type is PoolType.NETFS or overwrite is Overwrite.UNSPECIFIED:
            await super().build(overwrite)
            return
        if (pool.source.format or mounts.AUTO) == mounts.AUTO:
            detail = f"pool '{pool.name}' has no source <format>: name the file system to create"
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
                "unmount it or change the pool's target"
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
    """Return the mount helper of a network file system."""
    return {"cifs": "mount.cifs", "glusterfs": "mount.glusterfs"}.get(source_format, "mount.nfs")


async def find_exports(spec: str) -> str:
    """Discover the exports of an NFS server.

    Raises:
        VirError: INVALID_ARG without a host; SYSTEM_ERROR without showmount.
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
