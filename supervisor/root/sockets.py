"""The sockets that clients come in by: bound here, or inherited from a service manager.

Owns: making them with the right owner and mode.
May not touch: what comes in by them.
"""

from __future__ import annotations

import contextlib
import grp
import logging
import os
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conf.settings import DaemonConfig, socket_modes
from supervisor.runtime.paths import Paths

FIRST_PASSED: Final = 3  # sd_listen_fds(3)
BY_FILE: Final = {"libvirt-sock": "rw", "libvirt-sock-ro": "ro"}
BY_UNIT: Final = {"libvirtd": "rw", "libvirtd-ro": "ro"}
BY_PLACE: Final = ("rw", "ro")

log = logging.getLogger(__name__)


class SocketError(Exception):
    """A socket cannot be had; the message names it and says why."""


@dataclass(frozen=True, slots=True)
class ClientSockets:
    """The listening sockets."""

    ends: dict[str, socket.socket]  # by side: "rw", "ro"
    files: tuple[Path, ...]  # those that we have made

    def close(self) -> None:
        """Listen no more, and take our files away."""
        for path in self.files:
            with contextlib.suppress(OSError):
                path.unlink()
        for end in self.ends.values():
            end.close()


def client_sockets(
    paths: Paths, config: DaemonConfig, environ: MutableMapping[str, str], *, session: bool
) -> ClientSockets:
    """Have the listening sockets, "rw" and for the system daemon "ro".

    Raises:
        SocketError: one cannot be bound or given its owner.
    """
    passed = inherited(environ)
    if passed:
        return ClientSockets(passed, ())
    places = {"rw": paths.socket()} if session else socket_paths(paths, config)
    modes = dict(zip(BY_PLACE, socket_modes(config), strict=True))
    group = None if session else group_number(config.unix_sock_group)
    ends = {
        side: bind(path, 0o700 if session else modes[side], group, config.max_queued_clients)
        for side, path in places.items()
    }
    return ClientSockets(ends, tuple(places.values()))


def socket_paths(paths: Paths, config: DaemonConfig) -> dict[str, Path]:
    """Where the system daemon's sockets are."""
    places = {"rw": paths.socket(), "ro": paths.read_only_socket()}
    if config.unix_sock_dir:
        return {side: Path(config.unix_sock_dir) / path.name for side, path in places.items()}
    return places


def inherited(environ: MutableMapping[str, str]) -> dict[str, socket.socket]:
    """What a service manager has passed; its words about it are taken out of the environment.

    A socket's side is told by the file it is bound to, else by its name in LISTEN_FDNAMES, else by
    its place: the first is "rw", the second "ro".
    """
    pid, count, names = (
        environ.pop(key, "") for key in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
    )
    if pid != str(os.getpid()) or not count.isdigit():
        return {}
    named = names.split(":")
    found: dict[str, socket.socket] = {}
    for place in range(int(count)):
        os.set_inheritable(FIRST_PASSED + place, False)  # noqa: FBT003  (the library's signature)
        end = socket.socket(fileno=FIRST_PASSED + place)
        side = side_of(end, named[place] if place < len(named) else "", place)
        if side and side not in found and end.family == socket.AF_UNIX:
            found[side] = end
        else:
            log.warning("a passed socket is not used: %s", end.getsockname())
            end.close()
    return found


def side_of(end: socket.socket, name: str, place: int) -> str:
    """Which of our sockets a passed one is; "" for none of them."""
    file = Path(str(end.getsockname())).name
    if file.startswith("libvirt-"):
        return BY_FILE.get(file, "")
    if name.startswith("libvirtd"):
        return BY_UNIT.get(name.removesuffix(".socket"), "")
    return BY_PLACE[place] if place < len(BY_PLACE) else ""


def bind(path: Path, mode: int, group: int | None, queue: int) -> socket.socket:
    """Bind a socket; its file appears under its name only with its mode and owner set.

    Raises:
        SocketError: it cannot be had.
    """
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    temporary = path.with_name(f".{os.getpid()}.new")  # not longer than the name: paths are short
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
    except OSError as error:
        end.close()
        raise SocketError(f"cannot listen on {path}: {error.strerror or error}") from error
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
