"""iSCSI pools: a target and its LUNs.

Owns: login and logout, through iscsiadm. May touch: the target's node record of open-iscsi, for
CHAP: a password on the command line would be visible in /proc. LUNs are created on the server.
"""

from __future__ import annotations

import asyncio
import glob
import os
from typing import Final

from conf.errors import ConfError
from conf.storage import Volume, format_sources, parse_source
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.errors import from_conf_error
from supervisor.dispatch.service_errors import STORAGE_ERRORS
from supervisor.stord import commands
from supervisor.stord.backends import open_iscsi
from supervisor.stord.backends.base import (
    BackendContext,
    CreateOptions,
    Overwrite,
    ResizeOptions,
    not_supported,
)
from supervisor.stord.secrets import SecretName
from supervisor.stord.volume_info import NewVolume, PoolInfo, VolumeInfo

LOGIN_S: Final = 60.0
UDEV_SETTLE: Final = ["udevadm", "settle", "--timeout=20"]
BY_PATH: Final = "/dev/disk/by-path"
RECORDS: Final = ("/etc/iscsi/nodes", "/var/lib/iscsi/nodes")
SECTOR: Final = 512
NO_SESSION: Final = 21  # iscsiadm's exit status
EXISTS: Final = 15


class IscsiBackend:
    """Storage of a pool of type iscsi."""

    copies_data = False

    def __init__(self, context: BackendContext) -> None:
        self.context = context
        source = context.pool.source
        self.portal = open_iscsi.portal(source.hosts[0])
        self.target = source.devices[0].path
        self.initiator = source.initiator or ""
        if self.target.startswith("-") or self.portal.startswith("-"):
            raise STORAGE_ERRORS.invalid_arg(
                f"'{self.target}' at '{self.portal}' is no valid target"
            )

    async def check(self) -> bool:
        """Return whether there is a session with the target."""
        return bool(await self._session())

    async def start(self) -> None:
        """Log in, unless there is a session.

        Raises:
            VirError: INTERNAL_ERROR with iscsiadm's message; NO_SECRET; SYSTEM_ERROR.
        """
        if await self._session():
            return
        interface = await self._interface()
        argv = open_iscsi.plan_discovery(self.portal, interface)
        await commands.run_ok(argv, deadline_s=LOGIN_S)
        await commands.run_ok(open_iscsi.plan_manual(self.portal, self.target))
        await self._write_chap_password()
        argv = open_iscsi.plan_login(self.portal, self.target, interface)
        await commands.run_ok(argv, deadline_s=LOGIN_S)

    async def stop(self) -> None:
        """Log out."""
        if await self._session():
            argv = open_iscsi.plan_logout(self.portal, self.target)
            await commands.run_ok(argv, deadline_s=LOGIN_S)

    async def refresh(self) -> PoolInfo:
        """Rescan the LUNs.

        Raises:
            VirError: INTERNAL_ERROR: the session is lost.
        """
        session = await self._session()
        if not session:
            detail = f"no session with target '{self.target}': stop and start the pool"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.STORAGE)
        await commands.run_ok(open_iscsi.plan_rescan(session), deadline_s=LOGIN_S)
        if commands.has_program(UDEV_SETTLE[0]):
            await commands.run(UDEV_SETTLE)
        return pool_info(list_units(self.target), self.context.pool.path)

    async def read_space(self) -> PoolInfo:
        """Return the sum of the LUNs' sizes."""
        return pool_info(list_units(self.target), self.context.pool.path)

    async def build(self, overwrite: Overwrite) -> None:
        """Refuse: targets are created on the server."""
        raise not_supported(self.context.pool, "building")

    async def delete(self) -> None:
        """Refuse: targets are removed on the server."""
        raise not_supported(self.context.pool, "deleting")

    async def refresh_volume(self, volume: VolumeInfo) -> VolumeInfo:
        """Read one LUN.

        Raises:
            VirError: NO_STORAGE_VOL.
        """
        for info in (await self.read_space()).volumes:
            if info.name == volume.name:
                return info
        detail = f"unit '{volume.name}' does not exist on target '{self.target}'"
        raise VirError(ErrorCode.NO_STORAGE_VOL, detail, ErrorDomain.STORAGE)

    async def create_volume(self, definition: Volume, options: CreateOptions) -> NewVolume:
        """Refuse: LUNs are created on the server."""
        raise not_supported(self.context.pool, "creating volumes")

    async def clone_at_once(
        self, definition: Volume, source: VolumeInfo, options: CreateOptions
    ) -> None:
        """Do nothing: a clone is copied to its device after that is there."""

    async def delete_volume(self, volume: VolumeInfo, *, zeroed: bool) -> None:
        """Refuse: LUNs are removed on the server."""
        raise not_supported(self.context.pool, "deleting volumes")

    async def resize_volume(
        self, volume: VolumeInfo, capacity: int, options: ResizeOptions
    ) -> None:
        """Refuse: LUNs are resized on the server."""
        raise not_supported(self.context.pool, "resizing volumes")

    async def _session(self) -> str:
        argv = open_iscsi.plan_sessions()
        completed = await commands.run(argv)
        if completed.code == NO_SESSION:
            return ""
        if completed.code != 0:
            raise commands.failed(argv, completed)
        return open_iscsi.read_session(completed.output, self.target)

    async def _interface(self) -> str:
        """Create an open-iscsi interface for the pool's <initiator>; "" without one."""
        if not self.initiator:
            return ""
        name = open_iscsi.interface_name(self.initiator)
        for argv in open_iscsi.plan_interface(name, self.initiator):
            completed = await commands.run(argv)
            if completed.code not in (0, EXISTS):
                raise commands.failed(argv, completed)
        return name

    async def _write_chap_password(self) -> None:
        auth = self.context.pool.source.auth
        if auth is None:
            return
        name = SecretName(
            "iscsi",
            uuid=(auth.secret.uuid if auth.secret else None) or "",
            usage=(auth.secret.usage if auth.secret else None) or "",
        )
        password = (await self.context.find_secret(name)).decode(errors="surrogateescape")
        if "\n" in password or "\n" in (auth.username or ""):
            raise STORAGE_ERRORS.invalid_arg(
                "a CHAP user name or password must not contain line breaks"
            )
        await asyncio.to_thread(write_chap_password, self.target, auth.username or "", password)


def write_chap_password(target: str, user: str, password: str) -> None:
    """Write CHAP credentials into open-iscsi's node records of a target.

    Raises:
        VirError: SYSTEM_ERROR: no record, or it cannot be written.
    """
    records = [
        path
        for directory in RECORDS
        for path in glob.glob(f"{directory}/{glob.escape(target)}/**", recursive=True)
        if os.path.isfile(path)
    ]
    if not records:
        detail = f"open-iscsi has no record of the target '{target}'"
        raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.STORAGE)
    for path in records:
        try:
            with open(path, encoding="utf-8") as file:
                record = open_iscsi.with_chap(file.read(), user, password)
            temporary = f"{path}.new"
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(record)
            os.rename(temporary, path)
        except OSError as error:
            detail = f"cannot write '{path}': {error.strerror}"
            raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.STORAGE) from error


def list_units(target: str) -> list[tuple[int, str, int]]:
    """List a target's LUNs: number, name in /dev/disk/by-path, size in bytes.

    Only /dev and /sys are read, which never block.
    """
    units = []
    for link in glob.glob(f"{BY_PATH}/*"):
        lun = open_iscsi.lun(link, target)
        if lun is None:
            continue
        device = os.path.basename(os.path.realpath(link))
        try:
            with open(f"/sys/class/block/{device}/size", encoding="ascii") as file:
                units.append((lun, link, int(file.read()) * SECTOR))
        except (OSError, ValueError):
            continue  # removed meanwhile
    return sorted(units)


def pool_info(units: list[tuple[int, str, int]], target_path: str) -> PoolInfo:
    """Describe a target by its LUNs. Pure."""
    total = sum(size for _, _, size in units)
    volumes = tuple(
        VolumeInfo(
            name=f"unit:0:0:{lun}",
            key=link,
            path=link if target_path.rstrip("/") == BY_PATH else os.path.realpath(link),
            type="block",
            format="unknown",
            capacity=size,
            allocation=size,
            physical=size,
        )
        for lun, link, size in units
    )
    return PoolInfo(capacity=total, allocation=total, available=0, volumes=volumes)


async def find_targets(spec: str) -> str:
    """Discover the targets of a server.

    Raises:
        VirError: INVALID_ARG without a host.
    """
    try:
        source = await asyncio.to_thread(parse_source, spec) if spec else None
    except ConfError as error:
        raise from_conf_error(error, ErrorDomain.STORAGE) from error
    if source is None or not source.hosts:
        raise STORAGE_ERRORS.invalid_arg("hostname must be specified for iscsi sources")
    host = source.hosts[0]
    argv = open_iscsi.plan_discovery(open_iscsi.portal(host))
    output = await commands.run_ok(argv, deadline_s=LOGIN_S)
    return format_sources(open_iscsi.read_targets(output, host))
