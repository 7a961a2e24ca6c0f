"""Which driver a connection's URI selects. Pure.

Owns: the rules of CONNECT_OPEN's name (protocol/features_9_0.md, "CONNECT_OPEN").
May not touch: sockets, the bus.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from rpc.errors import ErrorCode, ErrorDomain, VirError

#: The drivers that a daemon has, its own first: that one is opened where the URI is empty.
SYSTEM_DRIVERS: Final = ("qemu", "lxc")
SESSION_DRIVERS: Final = ("qemu",)
CONTAINER_PATHS: Final = ("", "/", "/system")


@dataclass(frozen=True, slots=True)
class Target:
    """What a client has opened."""

    uri: str  # what CONNECT_GET_URI answers
    driver: str


def select_driver(name: str, *, session: bool) -> Target:
    """Choose the driver for the URI of CONNECT_OPEN; the empty one means the daemon's own.

    Raises:
        VirError: NO_CONNECT when no driver answers to the URI; INTERNAL_ERROR when its path is not
            one this daemon serves.
    """
    own_path = "/session" if session else "/system"
    drivers = SESSION_DRIVERS if session else SYSTEM_DRIVERS
    if not name:
        return Target(f"{drivers[0]}://{own_path}", drivers[0])
    try:
        parts = urlsplit(name)
        host = parts.hostname
    except ValueError:
        raise no_driver(name) from None
    driver = parts.scheme.split("+")[0]
    if host:
        raise no_driver(name)
    if driver == "lxc":
        refuse_container_path(parts.path, served=driver in drivers)
        return Target(name, driver)
    if driver not in drivers:
        raise no_driver(name)
    # A root daemon has always served /session too: its own, not the caller's.
    served = (own_path,) if session else ("/system", "/session")
    if parts.path not in served:
        detail = f"unexpected {driver} URI path '{parts.path}', try {driver}://{own_path}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail)
    return Target(name, driver)


def refuse_container_path(path: str, *, served: bool) -> None:
    """Refuse where containers are not: they need a daemon that is root's, and there is one.

    Raises:
        VirError: INTERNAL_ERROR.
    """
    if path not in CONTAINER_PATHS:
        detail = f"Unexpected LXC URI path '{path}', try lxc:///system"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC)
    if not served:
        detail = "lxc state driver is not active; containers are the system daemon's"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC)


def no_driver(name: str) -> VirError:
    """NO_CONNECT: nothing here answers to that URI."""
    return VirError(ErrorCode.NO_CONNECT, f"no connection driver available for {name}")
