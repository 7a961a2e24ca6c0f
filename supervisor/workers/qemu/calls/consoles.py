"""Console and channel streams (virDomainOpenConsole, virDomainOpenChannel).

Owns: which device a client names. May touch: ptys and sockets of character devices.
Source: libvirt 9.0, virDomainOpenConsole, virDomainOpenChannel.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from conf.domain.devices.chardev import CharDevice
from rpc.enums import DomainChannelFlags, DomainConsoleFlags
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Domain as DomainId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.drivers.qemu import QEMU
from supervisor.workers.console_sessions import ConsoleSessions
from supervisor.workers.qemu.guest import GuestProvider
from supervisor.workers.qemu.ptys import open_pty
from supervisor.workers.unix_sockets import connect


class Consoles:
    """Streams to the domain's character devices."""

    def __init__(self, worker: GuestProvider) -> None:
        self._worker = worker
        self._sessions: ConsoleSessions[str] = ConsoleSessions(ErrorDomain.QEMU)

    async def domain_open_console(
        self, call: ClientCall, dom: DomainId, dev_name: str | None, flags: int
    ) -> None:
        """Open a console, or the first one.

        Raises:
            VirError: INVALID_ARG: there is no such console; OPERATION_FAILED: another client has
                it open, and VIR_DOMAIN_CONSOLE_FORCE is not set.
        """
        devices = self._worker.guest().domain.devices
        candidates = (*devices.consoles, *devices.serials, *devices.parallels)
        device = find_device(candidates, dev_name, "console")
        await self._open(call, device, force=bool(flags & DomainConsoleFlags.FORCE))

    async def domain_open_channel(
        self, call: ClientCall, dom: DomainId, name: str | None, flags: int
    ) -> None:
        """Open a channel, by its alias or by its name in the guest, or the first one.

        Raises:
            VirError: as `domain_open_console`.
        """
        channels = self._worker.guest().domain.devices.channels
        device = find_device(channels, name, "channel")
        await self._open(call, device, force=bool(flags & DomainChannelFlags.FORCE))

    async def _open(self, call: ClientCall, device: CharDevice, *, force: bool) -> None:
        path = device.path
        if device.type not in ("pty", "unix", "file", "dev") or not path:
            detail = f"character device {device.alias} is not using a PTY, UNIX socket or file"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU)
        # A file is read from its start, and by any number of clients: no session is needed.
        if device.type == "file":
            call.set_stream(_open_checked(path, os.O_RDONLY | os.O_NOFOLLOW, _is_file))
            return
        self._sessions.claim(path, force=force)
        guest = self._worker.guest()
        fd = await open_device(device, path, guest.process.pid)
        try:
            self._sessions.claim(path, force=force)  # another client may have opened it meanwhile
        except VirError:
            os.close(fd)
            raise
        guest.sessions += 1

        def ended() -> None:
            guest.sessions -= 1

        call.set_stream(self._sessions.open(path, fd, ended))


def find_device(devices: Sequence[CharDevice], name: str | None, kind: str) -> CharDevice:
    """Find a device by its alias or target name; the first for no name.

    Raises:
        VirError: INVALID_ARG: there is no such device.
    """
    for device in devices:
        if name is None or name in (device.alias, device.target_name):
            return device
    raise QEMU.errors.invalid_arg(
        f"cannot find {kind} device '{name if name is not None else 'default'}'"
    )


async def open_device(device: CharDevice, path: str, pid: int) -> int:
    """Open the host's end of a character device.

    Args:
        device: the device.
        path: of its pty, socket or host device.
        pid: of QEMU.

    Raises:
        VirError: SYSTEM_ERROR naming the path, also for what is no pty where QEMU named one.
    """
    if device.type == "pty":
        try:
            return open_pty(path, pid)
        except OSError as error:
            raise _open_error(path, error.strerror or str(error)) from error
    if device.type != "unix":
        return _open_file(path, os.O_RDWR | os.O_NOCTTY)
    try:
        return (await connect(Path(path))).detach()
    except OSError as error:
        raise _open_error(path, error.strerror or str(error)) from error
    except TimeoutError as error:
        raise _open_error(path, "the listener does not accept") from error


def _open_file(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _open_error(path, error.strerror or str(error)) from error


def _open_checked(path: str, flags: int, is_expected: Callable[[os.stat_result], bool]) -> int:
    fd = _open_file(path, flags)
    if is_expected(os.fstat(fd)):
        return fd
    os.close(fd)
    raise _open_error(path, "it is no file of the kind that the device has")


def _is_file(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode)


def _open_error(path: str, why: str) -> VirError:
    return VirError(ErrorCode.SYSTEM_ERROR, f"Unable to open '{path}': {why}", ErrorDomain.QEMU)
