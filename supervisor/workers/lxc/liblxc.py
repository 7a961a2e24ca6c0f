"""liblxc: the command line of lxc-start, and the protocol of its monitor's command socket.

Owns: both. May touch: the container's monitor. May not touch: anything else of the container.
Source: lxc-start(1) of liblxc 5.0; the commands of its monitor, of which two are used.
"""

from __future__ import annotations

import array
import asyncio
import os
import re
import socket
import struct
from pathlib import Path
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError

LXC_START: Final = "/usr/bin/lxc-start"
#: Without /usr/bin, where newuidmap is: liblxc would use it, and it enforces /etc/subuid also for
#: root, who may map any range.
ENVIRONMENT: Final = {"PATH": "/usr/sbin:/sbin", "LC_ALL": "C"}
NAME: Final = "c"  # of every container to liblxc: each has an lxcpath of its own
REPLY_S: Final = 5.0
#: The monitor's commands.
OPEN_TERMINAL: Final = 0
INIT_PID: Final = 4
FRAME: Final = struct.Struct("@iiq")  # command or status, length of the data, small value
MAX_SOCKET_NAME: Final = 107  # bytes of sun_path that liblxc uses, with the leading NUL
EXEC_FAILED: Final = re.compile(r"start\.c:start:\d+ - (.+) - Failed to exec \"(.*)\"")
FNV_BASIS: Final = 0xCBF29CE484222325
FNV_PRIME: Final = 0x100000001B3


def start_command(folder: Path, log: Path, init: list[str]) -> list[str]:
    """Build the command that starts a container from its `config`; it exits when init runs."""
    return [
        *(LXC_START, "--daemon", "--name", NAME, "--lxcpath", str(folder)),
        *("--rcfile", str(folder / "config"), "--pidfile", str(folder / "pid")),
        *("--logfile", str(log), "--logpriority", "ERROR", "--quiet", "--", *init),
    ]


def error_cause(output: str) -> str:
    """Extract the cause from lxc-start's log: libvirt's message where it has one."""
    missing = EXEC_FAILED.search(output)
    if missing:
        return f"cannot find init path '{missing[2]}' relative to container root: {missing[1]}"
    lines = [line for line in output.splitlines() if " ERROR " in line]
    causes = [line.partition(" - ")[2].partition(" - ")[2] or line for line in lines]
    return "; ".join(causes[:3]) or output


def socket_name(folder: Path) -> bytes:
    """Derive the abstract address of a container's command socket; liblxc hashes a long one."""
    plain = b"\0%s/%s/command" % (os.fsencode(folder), NAME.encode())
    if len(plain) <= MAX_SOCKET_NAME:
        return plain
    return b"\0lxc/%016x/command" % fnv_1a(b"%s/%s" % (os.fsencode(folder), NAME.encode()))


def fnv_1a(data: bytes) -> int:
    """Compute the 64-bit FNV-1a hash."""
    value = FNV_BASIS
    for byte in data:
        value = ((value ^ byte) * FNV_PRIME) & 0xFFFFFFFFFFFFFFFF
    return value


async def init_pid(folder: Path) -> int:
    """Query the pid of init on the host.

    Raises:
        VirError: OPERATION_FAILED: the monitor does not answer.
    """
    value, descriptors, end = await _command(folder, INIT_PID, 0)
    end.close()
    for fd in descriptors:
        os.close(fd)
    if value <= 0:
        raise _no_reply(folder, "there is no init")
    return value


class Terminal:
    """A terminal of a container; the monitor reserves it until `close`."""

    def __init__(self, fd: int, end: socket.socket) -> None:
        """Take over the descriptor and the connection."""
        self._fd = fd
        self._end = end

    def detach(self) -> int:
        """Return the descriptor; the caller closes it."""
        return self._fd

    def close(self) -> None:
        """Close the connection, by which the monitor frees the terminal."""
        self._end.close()


async def open_terminal(folder: Path, number: int) -> Terminal:
    """Open a terminal.

    Args:
        folder: the container's.
        number: 0 the console, others /dev/ttyN of the container.

    Raises:
        VirError: OPERATION_FAILED: the monitor does not open it.
    """
    _, descriptors, end = await _command(folder, OPEN_TERMINAL, number)
    if not descriptors:
        end.close()
        raise _no_reply(folder, f"terminal {number} is not available")
    for spare in descriptors[1:]:
        os.close(spare)
    return Terminal(descriptors[0], end)


async def _command(folder: Path, command: int, value: int) -> tuple[int, list[int], socket.socket]:
    """Send a command; the reply's value and descriptors, and the connection for the caller."""
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(REPLY_S):
            await loop.sock_connect(end, socket_name(folder))
            end.sendmsg([FRAME.pack(command, 0, value)], [credentials()])
            await _readable(end)
        data, descriptors = _receive(end)
        if len(data) < FRAME.size:
            raise OSError("the reply is truncated")
        status, _, answer = FRAME.unpack(data)
        if status < 0:
            raise OSError(-status, os.strerror(-status))
    except (OSError, TimeoutError) as error:
        end.close()
        raise _no_reply(folder, str(error) or "it takes too long") from error
    except BaseException:
        end.close()
        raise
    return answer, descriptors, end


def credentials() -> tuple[int, int, bytes]:
    """SCM_CREDENTIALS of this process: sent explicitly, as the monitor may set SO_PASSCRED late."""
    who = struct.pack("@iII", os.getpid(), os.geteuid(), os.getegid())
    return socket.SOL_SOCKET, socket.SCM_CREDENTIALS, who


async def _readable(end: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(end.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(end.fileno())


def _receive(end: socket.socket) -> tuple[bytes, list[int]]:
    data, extras, _, _ = end.recvmsg(FRAME.size, socket.CMSG_SPACE(64), socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, payload in extras:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    return data, list(fds)


def _no_reply(folder: Path, why: str) -> VirError:
    detail = f"the monitor of the container in {folder} does not answer: {why}"
    return VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.LXC)
