"""The sockets that clients come in by: bound here, or inherited from a service manager.

Owns: making them with the right owner and mode.
May not touch: what comes in by them.
"""

from __future__ import annotations

import contextlib
import grp
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from conf.settings import DaemonConfig, socket_modes
from supervisor.paths import Paths

FIRST_PASSED: Final = 3  # sd_listen_fds(3)
BY_NAME: Final = {"libvirt-sock": "rw", "libvirt-sock-ro": "ro"}


class SocketError(Exception):
    """A socket cannot be had; the message names it and says why."""


def client_sockets(
    paths: Paths, config: DaemonConfig, environ: Mapping[str, str], *, session: bool
) -> dict[str, socket.socket]:
    """The listening sockets, "rw" and for the system daemon "ro".

    Raises:
        SocketError: one cannot be bound or given its owner.
    """
    passed = inherited(environ)
    if passed:
        return passed
    read_write, read_only = socket_modes(config)
    folder = Path(config.unix_sock_dir) if config.unix_sock_dir else None
    group = group_number(config.unix_sock_group)
    queue = config.max_queued_clients
    if session:
        return {"rw": bind(paths.socket(), 0o700, None, queue)}
    places = {"rw": paths.socket(), "ro": paths.read_only_socket()}
    if folder is not None:
        places = {side: folder / path.name for side, path in places.items()}
    return {
        "rw": bind(places["rw"], read_write, group, queue),
        "ro": bind(places["ro"], read_only, group, queue),
    }


def inherited(environ: Mapping[str, str]) -> dict[str, socket.socket]:
    """What a service manager has passed, told apart by the file each is bound to."""
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return {}
    count = environ.get("LISTEN_FDS", "0")
    found = {}
    for number in range(FIRST_PASSED, FIRST_PASSED + int(count if count.isdigit() else "0")):
        os.set_inheritable(number, False)  # noqa: FBT003  (the standard library's signature)
        end = socket.socket(fileno=number)
        side = BY_NAME.get(Path(str(end.getsockname())).name)
        if side is not None:
            found[side] = end
    return found


def bind(path: Path, mode: int, group: int | None, queue: int) -> socket.socket:
    """Bind a socket; its file appears under its name only with its mode and owner set.

    Raises:
        SocketError: it cannot be had.
    """
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        end.bind(str(temporary))
        if group is not None:
            os.chown(temporary, -1, group)
        temporary.chmod(mode)
        end.listen(queue)
        temporary.rename(path)
    except OSError as problem:
        end.close()
        raise SocketError(f"cannot listen on {path}: {problem.strerror or problem}") from problem
    return end


def group_number(name: str) -> int | None:
    """The number of unix_sock_group.

    Raises:
        SocketError: there is no such group.
    """
    if not name:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise SocketError(f"unix_sock_group: there is no group '{name}'") from None
