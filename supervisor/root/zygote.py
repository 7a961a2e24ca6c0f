"""The preloaded process that every other one is forked from.

Owns: forking, and telling the root how each child ended.
May touch: its children. May not touch: the bus, files, sockets of clients.

It loads each role once, so that a child starts in milliseconds and shares its pages: at the first
fork of the role, so that the first service comes up while the next one is still being loaded, or
when it has nothing else to do. It has one thread and runs no event loop: what it forks is clean.
Source of the choice: docs/decisions/zygote.md.
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
import sys
from collections.abc import Sequence
from typing import Final

import msgspec

from ipc import Node, prepare_messages
from rpc import table
from supervisor.root.privileges import Rights, drop
from supervisor.runtime.child import ChildProcess, run_child
from supervisor.runtime.log import begin_child

MESSAGE: Final = 65536  # bytes of one request or report
IDLE_MS: Final = 200  # without requests for so long it loads what may be asked for next
NO_RIGHTS: Final = 4  # exit status: privileges could not be dropped

log = logging.getLogger(__name__)


class Fork(msgspec.Struct, frozen=True):
    """The root to the zygote: fork a child; its control link comes with the message."""

    ticket: int
    name: str
    entry: str
    rights: str
    log_level: int


class Report(msgspec.Struct, frozen=True):
    """The zygote to the root: a child has been forked, or has ended."""

    ticket: int
    pid: int
    status: int | None = None  # of waitpid, when it has ended


class Zygote:
    """The loop that forks."""

    def __init__(
        self, requests: socket.socket, log_end: socket.socket, preload: Sequence[str]
    ) -> None:
        """Serve the root over `requests`; children log over `log_end`."""
        self._unloaded = list(preload)
        self._requests = requests
        self._log_end = log_end
        self._children: dict[int, tuple[int, int]] = {}  # by pidfd: the ticket and the number
        self._poll = select.poll()
        self._poll.register(requests, select.POLLIN)

    def run(self) -> None:
        """Fork and report until the root has gone."""
        while True:
            ready = self._poll.poll(IDLE_MS if self._unloaded else None)
            if not ready:
                self._load(self._unloaded[0])
            for fd, _ in ready:
                if fd in self._children:
                    self._report_end(fd)
                elif not self._serve_request():
                    return

    def _serve_request(self) -> bool:
        data, ancillary, _, _ = self._requests.recvmsg(
            MESSAGE, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC
        )
        if not data:
            return False
        numbers = array.array("i")
        for _, _, content in ancillary:
            numbers.frombytes(content)
        request = msgspec.msgpack.decode(data, type=Fork)
        self._load(request.entry.partition(":")[0])
        pid = os.fork()
        if pid == 0:
            self._be_child(request, socket.socket(fileno=numbers[0]))
        os.close(numbers[0])
        pidfd = os.pidfd_open(pid)
        self._children[pidfd] = request.ticket, pid
        self._poll.register(pidfd, select.POLLIN)
        self._send(Report(request.ticket, pid))
        return True

    def _load(self, module: str) -> None:
        """Import a role's module, once; one that fails is left to the processes that need it."""
        if module not in self._unloaded:
            return
        self._unloaded.remove(module)
        try:
            loaded = importlib.import_module(module)
            preload = getattr(loaded, "preload", None)  # what a role wants made before it is forked
            if preload is not None:
                preload()
        except Exception as error:  # noqa: BLE001  (whatever a module does while it loads)
            log.error("%s cannot be loaded: %s: %s", module, type(error).__name__, error)
        prepare_messages(Node, ChildProcess)
        gc.freeze()  # no child's collection touches, and so copies, what was loaded

    def _report_end(self, pidfd: int) -> None:
        ticket, pid = self._children.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        self._send(Report(ticket, pid, status))

    def _send(self, report: Report) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._requests.send(msgspec.msgpack.encode(report))

    def _be_child(self, request: Fork, control: socket.socket) -> None:
        """Become a process of the tree; never returns."""
        status = NO_RIGHTS
        try:
            for pidfd in self._children:
                os.close(pidfd)
            self._requests.close()
            name_process(request.name)
            gc.enable()
            drop(Rights(request.rights))

            def begin_log(name: str) -> None:
                begin_child(self._log_end, request.log_level, name)

            status = run_child(control, request.name, request.entry, begin_log)
        finally:
            sys.stderr.flush()
            os._exit(status)


def name_process(name: str) -> None:
    """Show the process's part in /proc/PID/comm, 15 characters of it."""
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
    """Fork the zygote.

    Args:
        log_end: where its own and its children's records go.
        preload: the roles' modules, in the order in which they are likely to be needed.
        level: its own records below this one of logging's levels are dropped.

    Returns:
        Its process number and our end of the way to it.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        theirs.close()
        return pid, ours
    status = 1
    try:
        ours.close()
        live_as_zygote(theirs, log_end, preload, level)
        status = 0
    except Exception:
        log.exception("the zygote failed")
    finally:
        os._exit(status)


def live_as_zygote(
    requests: socket.socket, log_end: socket.socket, preload: Sequence[str], level: int
) -> None:
    """Be the zygote until the root has gone."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's ^C is for the root to deal with
    close_others({0, 1, 2, requests.fileno(), log_end.fileno()})
    begin_child(log_end, level, "zygote")  # the root's handlers have threads, which no fork takes
    name_process("zygote")
    gc.disable()
    load_codecs()
    gc.freeze()
    Zygote(requests, log_end, preload).run()


def load_codecs() -> None:
    """Compile the codecs of every procedure that somebody answers, once for all children."""
    for procedure in table.load().procedures():
        if procedure.owner is not None:
            procedure.compile()


def close_others(keep: set[int]) -> None:
    """Close every descriptor but these: what the root holds is the root's."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in keep:
            with contextlib.suppress(OSError):
                os.close(int(name))
