"""The processes that touch storage: forked from one that was forked from stord at its start.

Owns: that first process (the forker), and what its children do on their first steps.
May touch: signals and descriptors of these processes alone. May not touch: the bus to the root,
clients' calls: their descriptors are closed.

Why not threads: docs/decisions/stord-isolation.md. Every process here dies with stord.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn

PR_SET_PDEATHSIG: Final = 1
PR_SET_NAME: Final = 15
REPLY: Final = struct.Struct("<i")  # a process number, or minus an error's number
FORK_S: Final = 5.0  # how long the forker may take for one fork

_INHERITED_HANDLERS: Final[list[logging.Handler]] = []

#: What a forked process does with its end of a socket pair.
ChildMain = Callable[[socket.socket], None]


@dataclass(frozen=True, slots=True)
class ForkedProcess:
    """A process that was forked; its descriptor becomes readable when it has gone."""

    pid: int
    pidfd: int
    connection: socket.socket


class ForkServer:
    """stord's end of the forker."""

    def __init__(self, end: socket.socket, pid: int) -> None:
        """Take the socket over."""
        self.on_lost: list[Callable[[], None]] = []  # called when the forker has gone by itself
        self._socket = end
        self._lock = asyncio.Lock()
        self._pidfd = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._on_exit)

    @staticmethod
    def start(child_main: ChildMain) -> ForkServer:
        """Fork the forker; to be called before this process has threads.

        Raises:
            OSError: it cannot be forked.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            _run_fork_server(theirs, child_main)
        theirs.close()
        ours.setblocking(False)  # noqa: FBT003  (socket's own)
        return ForkServer(ours, pid)

    async def fork(self) -> ForkedProcess:
        """Fork a process that serves.

        Raises:
            OSError: it cannot be forked.
            TimeoutError: the forker does not answer.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            async with asyncio.timeout(FORK_S), self._lock:
                socket.send_fds(self._socket, [b"f"], [theirs.fileno()])
                await self._wait_readable()
                reply, descriptors, _, _ = socket.recv_fds(
                    self._socket, REPLY.size, 1, socket.MSG_CMSG_CLOEXEC
                )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        number = REPLY.unpack(reply)[0] if len(reply) == REPLY.size else -1
        if number <= 0 or not descriptors:
            ours.close()
            raise OSError(-number, os.strerror(-number))
        return ForkedProcess(number, descriptors[0], ours)

    def close(self) -> None:
        """End the forker, and all that it has forked with it."""
        self.on_lost.clear()
        self._socket.close()

    def _on_exit(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        os.close(self._pidfd)
        for callback in self.on_lost:
            callback()

    async def _wait_readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._socket.fileno(), _set_done, ready)
        try:
            await ready
        finally:
            loop.remove_reader(self._socket.fileno())


def _set_done(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _run_fork_server(end: socket.socket, child_main: ChildMain) -> NoReturn:
    """Fork whenever stord asks, until it has gone."""
    try:
        _detach_from_parent(end.fileno(), "stord-forker")
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are nobody's to wait for
        while True:
            asked, descriptors, _, _ = socket.recv_fds(end, 1, 1, socket.MSG_CMSG_CLOEXEC)
            if not asked:
                break
            for theirs in descriptors:
                _fork_child(end, theirs, child_main)
    finally:
        os._exit(0)


def _fork_child(end: socket.socket, theirs: int, child_main: ChildMain) -> None:
    try:
        pid = os.fork()
        if pid == 0:
            _run_child(theirs, child_main)
        pidfd = os.pidfd_open(pid)
    except OSError as error:
        end.send(REPLY.pack(-(error.errno or 1)))
    else:
        socket.send_fds(end, [REPLY.pack(pid)], [pidfd])
        os.close(pidfd)
    finally:
        os.close(theirs)


def _run_child(descriptor: int, child_main: ChildMain) -> NoReturn:
    try:
        _detach_from_parent(descriptor, "stord-pool")
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        child_main(socket.socket(fileno=descriptor))
    finally:
        os._exit(0)


def _detach_from_parent(keep: int, name: str) -> None:
    """Leave everything of the process that was forked behind, but one descriptor and stderr."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(PR_SET_NAME, name.encode(), 0, 0, 0)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.closerange(3, keep)
    os.closerange(keep + 1, os.sysconf("SC_OPEN_MAX"))
    asyncio.events._set_running_loop(None)  # the loop that ran when we were forked is not ours
    root = logging.getLogger()
    _INHERITED_HANDLERS.extend(
        root.handlers
    )  # kept: their sockets' numbers may be another's by now
    root.handlers[:] = [logging.StreamHandler()]
