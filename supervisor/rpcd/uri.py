"""Which driver a connection's URI selects. Pure.

Owns: the rules of CONNECT_OPEN's name (protocol/features_9_0.md, "CONNECT_OPEN").
May not touch: sockets, the bus.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from rpc.errors import ErrorCode, VirError

DRIVERS: Final = ("qemu",)  # the drivers that this build has; each answers for /system and /session


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
    if not name:
        return Target(f"{DRIVERS[0]}://{own_path}", DRIVERS[0])
    try:
        parts = urlsplit(name)
        host = parts.hostname
    except ValueError:
        raise no_driver(name) from None
    driver = parts.scheme.split("+")[0]
    if driver not in DRIVERS or host:
        raise no_driver(name)
    # A root daemon has always served /session too: its own, not the caller's.
    served = (own_path,) if session else ("/system", "/session")
    if parts.path not in served:
        detail = f"unexpected {driver} URI path '{parts.path}', try {driver}://{own_path}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail)
    return Target(name, driver)


def no_driver(name: str) -> VirError:
    """NO_CONNECT: nothing here answers to that URI."""
    return VirError(ErrorCode.NO_CONNECT, f"no connection driver available for {name}")
