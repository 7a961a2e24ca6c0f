"""Fork server of the pools' helper processes, itself forked from stord at its start.

Owns: the fork server and the first steps of its children.
May touch: signals and descriptors of these processes. May not touch: the bus, clients' calls:
the children close all inherited descriptors.

A fork server, because stord has threads (asyncio.to_thread) by the time a pool needs a process, and
a child forked then may inherit a locked malloc or logging lock. Why no threads instead:
docs/decisions/stord-isolation.md. All these processes die with stord.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import itertools
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
REQUEST: Final = struct.Struct("<I")  # the request's number
REPLY: Final = struct.Struct("<Ii")  # the request's number; a PID or a negative errno
FORK_S: Final = 5.0  # deadline for one fork

_INHERITED_HANDLERS: Final[list[logging.Handler]] = []

#: Runs in the forked process, with its end of a socket pair.
ChildMain = Callable[[socket.socket], None]


@dataclass(frozen=True, slots=True)
class ForkedProcess:
    """A forked process; its pidfd becomes readable when it exits."""

    pid: int
    pidfd: int
    connection: socket.socket


class ForkServer:
    """Client of the fork server."""

    def __init__(self, connection: socket.socket, pid: int) -> None:
        """Take ownership of the socket; `close` closes it."""
        self.on_lost: list[Callable[[], None]] = []  # called when the fork server dies
        self._socket = connection
        self._lock = asyncio.Lock()
        self._numbers = itertools.count(1)
        self._pidfd = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._on_exit)

    @staticmethod
    def start(child_main: ChildMain) -> ForkServer:
        """Fork the fork server; call it before this process has threads.

        Raises:
            OSError: it cannot be forked.
        """
        stord_end, child_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            _run_fork_server(child_end, child_main)
        child_end.close()
        stord_end.setblocking(False)  # noqa: FBT003  (socket's own)
        return ForkServer(stord_end, pid)

    async def fork(self) -> ForkedProcess:
        """Fork a process that runs `child_main`.

        Raises:
            OSError: it cannot be forked.
            TimeoutError: the fork server does not answer.
        """
        stord_end, child_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            async with asyncio.timeout(FORK_S), self._lock:
                number = next(self._numbers) % 2**32
                socket.send_fds(self._socket, [REQUEST.pack(number)], [child_end.fileno()])
                pid, pidfd = await self._reply(number)
        except BaseException:
            stord_end.close()
            raise
        finally:
            child_end.close()
        return ForkedProcess(pid, pidfd, stord_end)

    def close(self) -> None:
        """End the fork server, and with it its children (PR_SET_PDEATHSIG)."""
        self.on_lost.clear()
        self._socket.close()

    def _on_exit(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        os.close(self._pidfd)
        for callback in self.on_lost:
            callback()

    async def _reply(self, number: int) -> tuple[int, int]:
        """Receive the PID and pidfd of a request; skip replies to requests that were cancelled.

        A process that is skipped exits by itself: the other end of its socket is closed.
        """
        while True:
            await self._wait_readable()
            data, descriptors, _, _ = socket.recv_fds(
                self._socket, REPLY.size, 1, socket.MSG_CMSG_CLOEXEC
            )
            replied, pid = REPLY.unpack(data) if len(data) == REPLY.size else (number, -errno.EPIPE)
            if replied == number and pid > 0 and descriptors:
                return pid, descriptors[0]
            for descriptor in descriptors:
                os.close(descriptor)
            if replied == number:
                raise OSError(-pid, os.strerror(-pid))

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


def _run_fork_server(connection: socket.socket, child_main: ChildMain) -> NoReturn:
    """Fork on request until stord closes its end of the socket."""
    try:
        _detach_from_parent(connection.fileno(), "stord-forker")
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies; stord watches pidfds
        while True:
            data, descriptors, _, _ = socket.recv_fds(
                connection, REQUEST.size, 1, socket.MSG_CMSG_CLOEXEC
            )
            if not data:
                break
            for child_end in descriptors:
                _fork_child(connection, REQUEST.unpack(data)[0], child_end, child_main)
    finally:
        os._exit(0)


def _fork_child(
    connection: socket.socket, number: int, child_end: int, child_main: ChildMain
) -> None:
    try:
        pid = os.fork()
        if pid == 0:
            _run_child(child_end, child_main)
        pidfd = os.pidfd_open(pid)
    except OSError as error:
        connection.send(REPLY.pack(number, -(error.errno or 1)))
    else:
        socket.send_fds(connection, [REPLY.pack(number, pid)], [pidfd])
        os.close(pidfd)
    finally:
        os.close(child_end)


def _run_child(descriptor: int, child_main: ChildMain) -> NoReturn:
    try:
        _detach_from_parent(descriptor, "stord-pool")
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        child_main(socket.socket(fileno=descriptor))
    finally:
        os._exit(0)


def _detach_from_parent(keep: int, name: str) -> None:
    """Close inherited descriptors but one and stderr; reset signals, logging and the event loop."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(PR_SET_NAME, name.encode(), 0, 0, 0)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.closerange(3, keep)
    os.closerange(keep + 1, os.sysconf("SC_OPEN_MAX"))
    asyncio.events._set_running_loop(None)  # the parent's loop was running at the fork
    root = logging.getLogger()
    # Kept alive: a finalizer would close descriptor numbers that are in use again by now.
    _INHERITED_HANDLERS.extend(root.handlers)
    root.handlers[:] = [logging.StreamHandler()]
