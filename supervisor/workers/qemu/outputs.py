"""What QEMU, and the programs that serve its devices, write to: pipes to logd, or files.

Owns: opening them. May touch: those files; logd.
Source: libvirt 9.0, qemu.conf "stdio_handler".

Either way QEMU inherits descriptors and needs no right to the files. Through a pipe it cannot write
more than logd lets it, and never to the file itself.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from conf.domain import Domain
from conf.domain.device_xml import Device
from conf.domain.devices.chardev import CharDevice, CharSource
from conf.domain.devices.redirdev import Redirdev
from conf.domain.devices.rng import Rng
from conf.domain.devices.smartcard import Smartcard
from ipc import BusError, PeerGone
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.messages.logd import OpenLog, ReadLog
from supervisor.workers.context import WorkerContext
from supervisor.workers.guest_log import GuestLog
from supervisor.workers.qemu.argv.launch_inputs import Fd
from supervisor.workers.qemu.start.files import character_devices

LOGD: Final = "logd"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OutputFds:
    """Descriptors of character devices by device alias."""

    chars: Mapping[str, int] = field(default_factory=dict)  # what type='file' writes
    logs: Mapping[str, int] = field(default_factory=dict)  # <log>
    sockets: Mapping[str, Fd] = field(default_factory=dict)  # see `listening_sockets`


class Outputs:
    """Opens the outputs of one guest."""

    def __init__(self, context: WorkerContext) -> None:
        self._link = context.node.link(LOGD)
        self._domain = context.process.domain
        self._uses_logd = context.config.stdio_handler == LOGD

    async def open_stdio(self, path: Path, closing: contextlib.ExitStack) -> int:
        """Open a log for a program's standard output and error; what it has is kept.

        Raises:
            VirError: SYSTEM_ERROR naming the file.
        """
        make_folder(path.parent)
        if self._uses_logd:
            return await self._open_pipe(str(path), closing, truncate=False)
        return open_output(str(path), append=True, closing=closing)

    async def open_file(self, path: str, closing: contextlib.ExitStack, *, append: bool) -> int:
        """Open what a character device writes; it is created, and emptied unless `append`.

        Raises:
            VirError: SYSTEM_ERROR naming the file.
        """
        if self._uses_logd:
            return await self._open_pipe(path, closing, truncate=not append)
        return open_output(path, append=append, closing=closing)

    async def open_device(
        self, alias: str, source: CharSource, closing: contextlib.ExitStack
    ) -> OutputFds:
        """Open what one device writes.

        Raises:
            VirError: SYSTEM_ERROR naming the file.
        """
        chars, logs = {}, {}
        if source.type == "file" and source.path:
            append = source.append is True
            chars[alias] = await self.open_file(source.path, closing, append=append)
        if source.log_file:
            append = source.log_append is True
            logs[alias] = await self.open_file(source.log_file, closing, append=append)
        return OutputFds(chars, logs)

    async def open_all(self, domain: Domain, closing: contextlib.ExitStack) -> OutputFds:
        """Open what a domain's devices write.

        Raises:
            VirError: SYSTEM_ERROR naming the file.
        """
        chars: dict[str, int] = {}
        logs: dict[str, int] = {}
        for alias, source in output_sources(domain):
            opened = await self.open_device(alias, source, closing)
            chars |= opened.chars
            logs |= opened.logs
        return OutputFds(chars, logs)

    async def error_output(self, log_file: GuestLog) -> str:
        """Return the last 4 KiB of what a start has printed."""
        if not self._uses_logd:
            return log_file.error_output()
        with contextlib.suppress(BusError):
            read = await self._link.call(ReadLog(path=str(log_file.path)))
            return read.text.decode(errors="replace").strip()
        return log_file.error_output()

    async def _open_pipe(self, path: str, closing: contextlib.ExitStack, *, truncate: bool) -> int:
        request = OpenLog(domain=self._domain, path=path, truncate=truncate)
        try:
            opened = await self._link.call(request)
        except PeerGone as error:  # with logd goes the pipe that it may have made: nobody writes it
            log.info("%s: the pipe of '%s' is asked for again: %s", self._domain, path, error)
            opened = await self._link.call(request)
        fd = opened.end.take()
        closing.callback(os.close, fd)
        return fd


def output_sources(domain: Domain) -> Iterator[tuple[str, CharSource]]:
    """List the backends of a domain's devices that are character devices, by alias."""
    devices = domain.devices
    listed: Iterable[CharDevice | Redirdev | Smartcard | Rng] = (
        *character_devices(domain),
        *devices.redirdevs,
        *devices.smartcards,
        *devices.rngs,
    )
    for device in listed:
        source = output_source(device)
        if source is not None:
            yield device.alias or "", source


def output_source(device: Device) -> CharSource | None:
    """Return the backend of a device that has a character device in the host."""
    match device:
        case CharDevice() | Redirdev():
            return device
        case Smartcard() if device.mode == "passthrough":
            return device
        case Rng() if device.backend.model == "egd":
            return device.backend
    return None


def make_folder(folder: Path) -> None:
    """Make the folder of a log.

    Raises:
        VirError: SYSTEM_ERROR naming it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        detail = f"cannot create log directory '{folder}': {error.strerror}"
        raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.QEMU) from error


def open_output(path: str, *, append: bool, closing: contextlib.ExitStack) -> int:
    """Open a file for QEMU to write; it is created, and emptied unless `append`.

    Raises:
        VirError: SYSTEM_ERROR naming the file; it is a symbolic link, or cannot be written.
    """
    # O_NONBLOCK: a FIFO without a reader fails; O_APPEND: the file may be truncated meanwhile.
    # O_NOFOLLOW: who may write to the folder, as QEMU's user, could have root empty another file.
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK | os.O_APPEND
    try:
        fd = os.open(path, flags | os.O_NOFOLLOW, 0o600)
        closing.callback(os.close, fd)
        if not append and stat.S_ISREG(os.fstat(fd).st_mode):
            os.ftruncate(fd, 0)
    except OSError as error:
        detail = f"unable to open file '{path}': {error.strerror}"
        raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.QEMU) from error
    return fd
