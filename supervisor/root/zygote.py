"""The zygote: the preloaded process that every other one is forked from.

Owns: forking, and reporting each child's exit status to the root.
May touch: its children. May not touch: the bus, files, sockets of clients.

It imports each role once, so that a child starts in milliseconds and shares its pages: at the first
fork of the role, so that the first service comes up while the next one is still being imported, or
when it is idle. It has one thread and runs no event loop.

The first zygote is forked from the root before that has an event loop. A later one is a fresh
interpreter (`exec_zygote`), because a fork of the running root inherits libuv's state: libuv has a
pthread_atfork handler, which in each forked child closes the descriptor numbers of its signal pipe,
whatever these numbers are by then. Source of the choice: docs/decisions/zygote.md.
"""

from __future__ import annotations

import array
import contextlib
import gc
import importlib
import logging
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

import msgspec

from ipc import Node, prepare_messages
from rpc import table
from supervisor.root.confinement import Confinement, EmptyNetwork, confine
from supervisor.root.malloc_holes import fill_malloc_holes
from supervisor.runtime.child import ChildProcess, run_child
from supervisor.runtime.log import start_child_log

MAX_MESSAGE: Final = 65536  # bytes of one request or report
IDLE_MS: Final = 200  # without requests for so long it imports the next module
PRIVILEGES_KEPT: Final = 4  # exit status: privileges could not be dropped
NOT_FORKED: Final = 1 << 8  # waitpid's status of exit code 1: the kernel refused the fork
#: The first lines of a fresh zygote. The root's import path is used instead of the interpreter's.
BOOTSTRAP: Final = (
    "import sys; sys.path[:] = sys.argv[2:]; "
    "from supervisor.root.zygote import main; main(sys.argv[1])"
)

log = logging.getLogger(__name__)


class ForkRequest(msgspec.Struct, frozen=True):
    """The root to the zygote: fork a child; its control link comes with the message."""

    fork_id: int  # chosen by the root, for the reports
    name: str
    entry: str
    confinement: Confinement
    log_level: int


class ForkReport(msgspec.Struct, frozen=True):
    """The zygote to the root: a child has been forked, or has exited; or what it does itself."""

    fork_id: int  # 0: the report is of the zygote itself
    pid: int
    status: int | None = None  # of waitpid, when it has exited
    loading: bool = False  # it begins to import a role: its next report may take a while


class ZygoteConfig(msgspec.Struct, frozen=True):
    """The zygote's command line, as JSON."""

    requests: int  # descriptor of the socket to the root
    log_end: int  # descriptor of the socket that log records are sent to
    preload: tuple[str, ...]
    level: int


class Zygote:
    """The loop that forks."""

    def __init__(
        self, requests: socket.socket, log_end: socket.socket, preload: Sequence[str]
    ) -> None:
        """Serve the root over `requests`; children send their log records to `log_end`."""
        self._to_preload = list(preload)
        self._requests = requests
        self._log_end = log_end
        self._empty_network = EmptyNetwork()
        self._children: dict[int, tuple[int, int]] = {}  # by pidfd: the fork's id and the pid
        self._poll = select.poll()
        self._poll.register(requests, select.POLLIN)

    def run(self) -> None:
        """Fork and report until the root closes its end."""
        self._send(ForkReport(0, os.getpid()))
        while True:
            ready = self._poll.poll(IDLE_MS if self._to_preload else None)
            if not ready:
                self._preload(self._to_preload[0])
            for fd, _ in ready:
                if fd in self._children:
                    self._report_exit(fd)
                elif not self._serve_request():
                    return

    def _serve_request(self) -> bool:
        data, ancillary, _, _ = self._requests.recvmsg(
            MAX_MESSAGE, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC
        )
        if not data:
            return False
        fds = array.array("i")
        for _, _, content in ancillary:
            fds.frombytes(content)
        request = msgspec.msgpack.decode(data, type=ForkRequest)
        self._preload(request.entry.partition(":")[0])
        if not request.confinement.network:
            self._empty_network.prepare()
        try:
            pid = os.fork()
        except OSError as error:  # EAGAIN: a limit on processes; the root tries again later
            log.error("%s cannot be forked: %s", request.name, error)
            os.close(fds[0])
            self._send(ForkReport(request.fork_id, 0, NOT_FORKED))
            return True
        if pid == 0:
            self._run_child(request, socket.socket(fileno=fds[0]))
        os.close(fds[0])
        pidfd = os.pidfd_open(pid)
        self._children[pidfd] = request.fork_id, pid
        self._poll.register(pidfd, select.POLLIN)
        self._send(ForkReport(request.fork_id, pid))
        return True

    def _preload(self, module: str) -> None:
        """Import a role's module once; one that fails to import fails again in its processes."""
        if module not in self._to_preload:
            return
        self._to_preload.remove(module)
        self._send(ForkReport(0, os.getpid(), loading=True))
        try:
            loaded = importlib.import_module(module)
            preload = getattr(loaded, "preload", None)  # builds what its children can share
            if preload is not None:
                preload()
        except Exception as error:  # noqa: BLE001  (whatever a module raises while it is imported)
            log.error("%s cannot be imported: %s: %s", module, type(error).__name__, error)
        prepare_messages(Node, ChildProcess)
        fill_malloc_holes()
        gc.freeze()  # a collection in a child would write to, and so copy, every page
        self._send(ForkReport(0, os.getpid()))

    def _report_exit(self, pidfd: int) -> None:
        fork_id, pid = self._children.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        self._send(ForkReport(fork_id, pid, status))

    def _send(self, report: ForkReport) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._requests.send(msgspec.msgpack.encode(report))

    def _run_child(self, request: ForkRequest, control: socket.socket) -> None:
        """Run a process of the tree in a forked child; never returns."""
        status = PRIVILEGES_KEPT
        try:
            for pidfd in self._children:
                os.close(pidfd)
            self._requests.close()
            set_process_name(request.name)
            gc.enable()
            lacking = confine(request.confinement, self._empty_network)

            def begin_log(name: str) -> None:
                start_child_log(self._log_end, request.log_level, name)
                for reason in lacking:
                    log.info("%s is less confined here: %s", name, reason)

            status = run_child(control, request.name, request.entry, begin_log)
        finally:
            sys.stderr.flush()
            os._exit(status)


def set_process_name(name: str) -> None:
    """Set /proc/PID/comm to "vv:NAME", of which the kernel keeps 15 bytes."""
    try:
        fd = os.open("/proc/self/comm", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.write(fd, f"vv:{name}".encode()[:15])
    finally:
        os.close(fd)


def fork_zygote(
    log_end: socket.socket, preload: Sequence[str], level: int
) -> tuple[int, socket.socket]:
    """Fork the zygote from this process, which must have neither threads nor an event loop.

    Args:
        log_end: where its own and its children's log records are sent.
        preload: the roles' modules, in the order in which they are likely to be needed.
        level: its own records below this one of logging's levels are dropped.

    Returns:
        Its pid and the root's end of the socket to it.
    """
    root_end, zygote_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        zygote_end.close()
        return pid, root_end
    root_end.close()
    exit_after(zygote_end, log_end, preload, level)


def exec_zygote(
    log_end: socket.socket, preload: Sequence[str], level: int
) -> tuple[int, socket.socket]:
    """Start the zygote in a fresh interpreter; the arguments and the result are `fork_zygote`'s.

    Raises:
        OSError: it cannot be executed.
    """
    root_end, zygote_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    config = ZygoteConfig(zygote_end.fileno(), log_end.fileno(), tuple(preload), level)
    path = [folder for folder in sys.path if folder]  # "" is the working directory
    # -P: the working directory, which any user may own, is not searched for modules.
    argv = [sys.executable, "-P", "-c", BOOTSTRAP, msgspec.json.encode(config).decode(), *path]
    with zygote_end:
        try:
            # _posixsubprocess uses vfork where it can, which runs no pthread_atfork handlers.
            process = subprocess.Popen(argv, pass_fds=(config.requests, config.log_end))
        except OSError:
            root_end.close()
            raise
    process.returncode = 0  # `ZygoteClient` waits for it, not this object
    return process.pid, root_end


def main(config_json: str) -> NoReturn:
    """Run the zygote in the interpreter that `exec_zygote` has started."""
    config = msgspec.json.decode(config_json, type=ZygoteConfig)
    requests = socket.socket(fileno=config.requests)
    log_end = socket.socket(fileno=config.log_end)
    for end in (requests, log_end):
        end.set_inheritable(False)
    log_end.setblocking(False)  # noqa: FBT003
    exit_after(requests, log_end, config.preload, config.level)


def exit_after(
    requests: socket.socket, log_end: socket.socket, preload: Sequence[str], level: int
) -> NoReturn:
    """Run the zygote and end the process: nothing that the root has begun may go on in it."""
    status = 1
    try:
        run_zygote(requests, log_end, preload, level)
        status = 0
    except Exception:
        log.exception("the zygote failed")
    finally:
        os._exit(status)


def run_zygote(
    requests: socket.socket, log_end: socket.socket, preload: Sequence[str], level: int
) -> None:
    """Prepare this process and fork from it until the root closes its end."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C on a terminal reaches every process of it
    close_other_fds({0, 1, 2, requests.fileno(), log_end.fileno()})
    start_child_log(
        log_end, level, "zygote"
    )  # the root's handlers write in threads, which a fork lacks
    set_process_name("zygote")
    gc.disable()
    compile_codecs()
    gc.freeze()
    Zygote(requests, log_end, preload).run()


def compile_codecs() -> None:
    """Compile the codecs of every procedure that has an owner, once for all children."""
    for procedure in table.load().procedures():
        if procedure.owner is not None:
            procedure.compile()


def close_other_fds(keep: set[int]) -> None:
    """Close every descriptor but these, client and listening sockets of the root among them."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in keep:
            with contextlib.suppress(OSError):
                os.close(int(name))
