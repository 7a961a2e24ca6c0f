"""The listening sockets: bound here, or passed by a service manager (socket activation).

Owns: their owner and mode. May not touch: connections.
"""

from __future__ import annotations

import contextlib
import grp
import logging
import os
import socket
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from conf.settings import DaemonConfig, socket_modes
from supervisor.root.tcp_sockets import TCP, TLS, ListenError, listen_tcp, requested_ports
from supervisor.runtime.paths import Paths

SD_LISTEN_FDS_START: Final = 3  # sd_listen_fds(3)
BY_FILE: Final = {"libvirt-sock": "rw", "libvirt-sock-ro": "ro", "libvirt-admin-sock": "admin"}
BY_UNIT: Final = {"libvirtd": "rw", "libvirtd-ro": "ro", "libvirtd-admin": "admin"}
BY_TCP_UNIT: Final = {"libvirtd-tcp": TCP, "libvirtd-tls": TLS}
BY_POSITION: Final = ("rw", "ro")
GROUP: Final = "libvirt"  # packages make it: its members may use the read-write socket

log = logging.getLogger(__name__)


class SocketError(Exception):
    """A socket cannot be bound; the message names it and the reason."""


@dataclass(frozen=True, slots=True)
class ClientSockets:
    """The listening sockets."""

    sockets: dict[str, socket.socket]  # by side: "rw", "ro", "tcp:N", "tls:N"
    files: tuple[Path, ...]  # those that were bound here

    def close(self) -> None:
        """Close the sockets, and unlink those that were bound here."""
        for path in self.files:
            with contextlib.suppress(OSError):
                path.unlink()
        for end in self.sockets.values():
            end.close()


def client_sockets(
    paths: Paths,
    config: DaemonConfig,
    environ: MutableMapping[str, str],
    *,
    session: bool,
    listen: bool = False,
) -> ClientSockets:
    """Bind the listening sockets, "rw" and for the system daemon "ro", or take passed ones.

    Args:
        paths: of the daemon.
        config: libvirtd.conf.
        environ: of the process; what a service manager says in it is removed.
        session: whether this is a session daemon.
        listen: also bind those for TCP and TLS clients.

    Raises:
        SocketError: one cannot be bound or chowned.
    """
    passed = passed_sockets(environ, requested_ports(config))
    if passed and listen:
        raise SocketError(
            "--listen parameter not permitted with systemd activation sockets: enable "
            "libvirtd-tls.socket or libvirtd-tcp.socket instead"
        )
    if passed:
        return ClientSockets(passed, ())
    places = socket_paths(paths, config, session=session)
    if not session and not config.unix_sock_group and os.geteuid() == 0 and has_group(GROUP):
        config = msgspec.structs.replace(config, unix_sock_group=GROUP)
    modes = dict(zip((*BY_POSITION, "admin"), socket_modes(config), strict=True))
    group = None if session else group_id(config.unix_sock_group)
    ends = {
        side: bind(
            path,
            0o700 if session else modes[side],
            None if side == "admin" else group,
            config.max_queued_clients,
        )
        for side, path in places.items()
    }
    bound = ClientSockets(ends, tuple(places.values()))
    if listen:
        try:
            ends.update(listen_tcp(config))
        except ListenError as error:
            bound.close()
            raise SocketError(str(error)) from error
    return bound


def socket_paths(paths: Paths, config: DaemonConfig, *, session: bool) -> dict[str, Path]:
    """Return the paths of the Unix sockets by name."""
    if session:
        return {"rw": paths.socket(), "admin": paths.libvirt_admin_socket()}
    places = {"rw": paths.socket(), "ro": paths.read_only_socket()}
    places["admin"] = paths.libvirt_admin_socket()
    if config.unix_sock_dir:
        return {side: Path(config.unix_sock_dir) / path.name for side, path in places.items()}
    return places


def client_uri(paths: Paths, config: DaemonConfig, *, session: bool) -> str:
    """Return the URI of the daemon's QEMU driver, with its socket where clients need that."""
    if session:  # clients look where Paths.session does
        return "qemu:///session"
    path = socket_paths(paths, config, session=False)["rw"]
    if path == Paths.system().socket():
        return "qemu:///system"
    return f"qemu+unix:///system?socket={path}"


def passed_sockets(
    environ: MutableMapping[str, str], ports: Mapping[str, str]
) -> dict[str, socket.socket]:
    """Take the sockets that systemd passes; unset LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES.

    Which one a Unix socket is follows from its path, else its name in LISTEN_FDNAMES, else its
    position: the first is "rw", the second "ro". A TCP socket is told by its name, else its port.

    Args:
        environ: of the process.
        ports: by kind of TCP socket ("tcp", "tls").
    """
    pid, count, names = (
        environ.pop(key, "") for key in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
    )
    if pid != str(os.getpid()) or not count.isdigit():
        return {}
    fd_names = names.split(":")
    sockets: dict[str, socket.socket] = {}
    for position in range(int(count)):
        os.set_inheritable(SD_LISTEN_FDS_START + position, False)  # noqa: FBT003  (the library's signature)
        end = socket.socket(fileno=SD_LISTEN_FDS_START + position)
        name = fd_names[position] if position < len(fd_names) else ""
        if end.family == socket.AF_UNIX:
            side = side_of(end, name, position)
        elif kind := tcp_kind_of(end, name, ports):
            side = f"{kind}:{position}"
        else:
            side = ""
        if side and side not in sockets:
            sockets[side] = end
        else:
            log.warning("a socket passed by the service manager is not used: %s", end.getsockname())
            end.close()
    return sockets


def side_of(end: socket.socket, name: str, position: int) -> str:
    """Choose a passed socket's side by its path: "rw", "ro", or "" for neither."""
    file = Path(str(end.getsockname())).name
    if file.startswith("libvirt-"):
        return BY_FILE.get(file, "")
    if name.startswith("libvirtd"):
        return BY_UNIT.get(name.removesuffix(".socket"), "")
    return BY_POSITION[position] if position < len(BY_POSITION) else ""


def tcp_kind_of(end: socket.socket, name: str, ports: Mapping[str, str]) -> str:
    """Choose a passed TCP socket's kind: "tcp", "tls", or "" for neither."""
    if name.startswith("libvirtd"):
        return BY_TCP_UNIT.get(name.removesuffix(".socket"), "")
    port = str(end.getsockname()[1])
    return next((kind for kind, number in ports.items() if number == port), "")


def bind(path: Path, mode: int, group: int | None, queue: int) -> socket.socket:
    """Bind a socket under a temporary name, and rename it when its mode and owner are set.

    Raises:
        SocketError: it cannot be bound.
    """
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    temporary = path.with_name(
        f".{os.getpid()}.new"
    )  # sun_path has 108 bytes: not longer than the name
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


def has_group(name: str) -> bool:
    """Return whether the host has a group."""
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def group_id(name: str) -> int | None:
    """Look up the gid of unix_sock_group.

    Raises:
        SocketError: there is no such group.
    """
    if not name:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise SocketError(f"unix_sock_group: there is no group '{name}'") from None
