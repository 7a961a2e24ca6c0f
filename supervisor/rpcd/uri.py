"""Connection URI: which driver CONNECT_OPEN selects. Pure.

Owns: the rules of CONNECT_OPEN's name (protocol/features_9_0.md, "CONNECT_OPEN").
May not touch: sockets, the bus.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from rpc.errors import ErrorCode, VirError
from supervisor.drivers.driver import Driver
from supervisor.drivers.table import DRIVERS, DriverTable


@dataclass(frozen=True, slots=True)
class ConnectTarget:
    """What a client has opened."""

    uri: str  # what CONNECT_GET_URI answers
    driver: str  # `Driver.name`


def select_driver(name: str, *, session: bool, drivers: DriverTable = DRIVERS) -> ConnectTarget:
    """Select the driver for the URI of CONNECT_OPEN; the empty one selects the table's first.

    Args:
        name: the URI, which comes from the client.
        session: whether this is a session daemon.
        drivers: the table to select from.

    Raises:
        VirError: NO_CONNECT: no driver has the URI's scheme; INTERNAL_ERROR: the driver does not
            serve its path, or not in a session daemon.
    """
    if not name:
        driver = drivers.of_daemon(session=session)[0]
        return ConnectTarget(recommended_uri(driver, session=session), driver.name)
    try:
        parts = urlsplit(name)
        host = parts.hostname
    except ValueError:
        raise no_driver(name) from None
    selected = drivers.get(parts.scheme.split("+")[0])  # "qemu+unix": the transport is known
    if selected is None or host:
        raise no_driver(name)
    check_path(selected, parts.path, session=session)
    return ConnectTarget(name, selected.name)


def check_path(driver: Driver, path: str, *, session: bool) -> None:
    """Refuse a path that a driver does not serve in this daemon.

    Raises:
        VirError: INTERNAL_ERROR.
    """
    served = driver.uri_paths(session=session)
    if path not in (served or driver.system_paths):
        recommended = recommended_uri(driver, session=session and bool(served))
        detail = f"Unexpected {driver.title} URI path '{path}', try {recommended}"
        raise driver.errors.error(ErrorCode.INTERNAL_ERROR, detail)
    if not served:
        detail = f"{driver.name} state driver is not active: it needs the system daemon"
        raise driver.errors.error(ErrorCode.INTERNAL_ERROR, detail)


def recommended_uri(driver: Driver, *, session: bool) -> str:
    """Return the URI by which a daemon's driver is usually opened."""
    return f"{driver.name}://{driver.uri_paths(session=session)[0]}"


def no_driver(name: str) -> VirError:
    """NO_CONNECT: no driver has the URI's scheme."""
    return VirError(ErrorCode.NO_CONNECT, f"no connection driver available for {name}")
