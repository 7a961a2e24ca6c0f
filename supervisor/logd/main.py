"""logd: writes what guests and their helpers print to files that are rotated.

Owns: the pipes that they write to, and the files behind them; virtlogd.conf.
May touch: files that workers name, to write and rotate them.
May not touch: guests, definitions, client sockets.
Runs with: the daemon's user, files of any owner.

It outlives the root, as guests do: see docs/decisions/guest-logs.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from conf.errors import ConfError
from conf.settings import LogdConfig, parse_logd_config
from ipc import Descriptor, current_call, handles, prepare_messages
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.drivers.table import DRIVERS
from supervisor.logd.log_pipe import LogPipe
from supervisor.logd.records import LogRecord, NamedPipe, Records
from supervisor.logd.rotating_file import RotatingFile
from supervisor.logd.takeover import TERM_S, NotTakenOver, take_lock
from supervisor.messages.logd import LogOpened, LogOutput, OpenLog, ReadLog
from supervisor.runtime.child import ChildProcess

#: Disks that do not answer hold so many threads at most; then the output of other guests is lost.
THREADS: Final = 8
HAND_OVER_S: Final = TERM_S / 2  # the successor kills this process after TERM_S

log = logging.getLogger(__name__)


def preload() -> None:
    """Compile the messages' codecs in the zygote, whose pages this process shares."""
    prepare_messages(Logd)
    parse_logd_config(b"max_size = 1\n", "preload")


class Logd:
    """The pipes of a daemon's guests."""

    def __init__(
        self, folder: Path, config: LogdConfig, own_folders: frozenset[Path] = frozenset()
    ) -> None:
        """Begin without pipes.

        Args:
            folder: of the records and pipes.
            config: virtlogd.conf.
            own_folders: of the daemon's own logs of guests; they are made anew where they are gone.
        """
        self.config = config
        self._own_folders = own_folders
        self.idle = asyncio.Event()  # no pipe is open
        self._folder = folder
        self._records = Records(folder)
        self._pipes: dict[str, LogPipe] = {}  # by path
        self._threads = ThreadPoolExecutor(THREADS, "log")

    async def take_over(self) -> None:
        """Go on with what a previous logd has left; it is ended, if it lives.

        Raises:
            OSError, NotTakenOver: the folder cannot be used.
        """
        self._records.make_folder()
        # Each pipe has a reader all the time: a guest that wrote to one without would lose that.
        left = list(self._records.open_all())
        await take_lock(self._folder / "lock")
        left += self._records.open_all(frozenset(pipe.key for pipe in left))
        self._records.remove_orphans()
        for pipe in left:
            self._go_on(pipe)
        self._set_idle()

    @handles(OpenLog)
    async def open_log(self, request: OpenLog) -> LogOpened:
        """Open a file for a guest."""
        check_is_worker()
        if not request.path.startswith("/"):
            raise _open_error(request.path, OSError(errno.EINVAL, os.strerror(errno.EINVAL)))
        await self._check_free(request.path)
        record = LogRecord(request.domain, request.path)
        try:
            pipe, writer = self._records.create(record)
        except OSError as error:
            raise _open_error(request.path, error) from error
        end = Descriptor(writer)
        try:
            file = RotatingFile(request.path, lambda: self.config, truncate=request.truncate)
        except OSError as error:
            os.close(pipe.reader)
            self._records.remove(pipe.key)
            raise _open_error(request.path, error) from error
        self._add(pipe, file)
        return LogOpened(end=end)

    @handles(ReadLog)
    async def read_log(self, request: ReadLog) -> LogOutput:
        """Read what a guest has printed."""
        check_is_worker()
        pipe = self._pipes.get(request.path)
        if pipe is None:
            return LogOutput(text=b"")
        with contextlib.suppress(OSError):
            return LogOutput(text=await pipe.read_output())
        return LogOutput(text=b"")

    async def hand_over(self) -> None:
        """Give up every pipe, once what was read is written; another logd goes on with them.

        A disk that does not answer until the deadline loses what was read for it: the other
        process must not wait for it, nor write to the file at the same time.
        """
        pipes = list(self._pipes.values())
        self._pipes.clear()
        flushes = {asyncio.create_task(pipe.hand_over()) for pipe in pipes}
        if flushes:
            _, late = await asyncio.wait(flushes, timeout=HAND_OVER_S)
            if late:
                log.warning("output of guests is lost: %d files cannot be written", len(late))

    async def _check_free(self, path: str) -> None:
        """Refuse a file that a pipe writes, once what its last writer has left is written."""
        pipe = self._pipes.get(path)
        if pipe is not None:
            await pipe.drain()
        if path in self._pipes:
            raise _open_error(path, OSError(errno.EBUSY, os.strerror(errno.EBUSY)))

    def _go_on(self, pipe: NamedPipe) -> None:
        parent = Path(pipe.record.path).parent
        try:
            if parent in self._own_folders:
                parent.mkdir(parents=True, exist_ok=True)
            file = RotatingFile(pipe.record.path, lambda: self.config, truncate=False)
        except OSError as error:
            log.warning("output of '%s' is lost: %s", pipe.record.domain, error)
            os.close(pipe.reader)
            return
        self._add(pipe, file)

    def _add(self, pipe: NamedPipe, file: RotatingFile) -> None:
        self._pipes[pipe.record.path] = LogPipe(pipe, file, self._threads, self._ended)
        self._set_idle()

    def _ended(self, pipe: LogPipe) -> None:
        self._records.remove(pipe.pipe.key)
        if self._pipes.get(pipe.file.path) is pipe:
            del self._pipes[pipe.file.path]
        self._set_idle()

    def _set_idle(self) -> None:
        (self.idle.clear if self._pipes else self.idle.set)()


def check_is_worker() -> None:
    """Refuse every process but a driver's worker: what it names, root writes.

    Raises:
        VirError: ACCESS_DENIED.
    """
    driver, _, domain = current_call().peer.partition(":")
    if not domain or driver not in {known.name for known in DRIVERS}:
        raise VirError(ErrorCode.ACCESS_DENIED, f"{current_call().peer} may not open logs")


def _open_error(path: str, error: OSError) -> VirError:
    detail = f"Cannot open log file: '{path}': {error.strerror}"
    return VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.QEMU)


def read_config(path: Path, before: LogdConfig) -> LogdConfig:
    """Read virtlogd.conf; a mistake is logged, and the settings stay as they were."""
    try:
        return parse_logd_config(path.read_bytes(), str(path))
    except FileNotFoundError:
        return LogdConfig()
    except (OSError, ConfError) as error:
        log.error("%s", error)
        return before


async def run(process: ChildProcess) -> None:
    """Write logs until the process is asked to stop, and then until the last guest has ended."""
    with contextlib.suppress(PermissionError):
        os.setsid()  # what ends the root's terminal does not end this process
    ended = asyncio.Event()  # by a successor
    orphaned = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    path = process.paths.logd_config_file()
    own = (process.paths.for_driver(driver.name).guest_log("any").parent for driver in DRIVERS)
    logd = Logd(process.paths.logd(), read_config(path, LogdConfig()), frozenset(own))

    def reload() -> None:
        logd.config = read_config(path, logd.config)

    try:
        await logd.take_over()
    except (OSError, NotTakenOver) as error:
        raise SystemExit(f"guests' logs cannot be written: {error}") from error
    process.on_reload.append(reload)
    process.node.control.on_lost.clear()
    process.node.control.on_lost.append(lambda _: orphaned.set())
    process.node.serve(logd)
    await process.ready()
    await first_of(process.stopping, orphaned, ended)
    if not ended.is_set() and not logd.idle.is_set():
        log.info("logd goes on until the guests that it writes for have ended")
        await first_of(logd.idle, ended)
    await logd.hand_over()


async def first_of(*events: asyncio.Event) -> None:
    """Wait until one of the events is set."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
