"""The lease database of a network: the DHCP leases that dnsmasq has granted.

Owns: reading the lease database. May touch: that file, to read.
Source: libvirt 9.0 virNetworkGetDHCPLeases.
"""

from __future__ import annotations

import logging
import socket
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

MAX_DATABASE: Final = 64 * 1024 * 1024  # bytes

log = logging.getLogger(__name__)


class LeaseRecord(msgspec.Struct, rename="kebab"):
    """A lease in the database."""

    ip_address: str
    mac_address: str = ""
    hostname: str = ""
    client_id: str = ""
    iaid: str = ""
    server_duid: str = ""
    expiry_time: int = 0


class DhcpLease(NamedTuple):
    """A lease that has not expired."""

    family: int  # 4 or 6
    address: str  # as it is usually written
    packed: bytes  # the address in network byte order
    mac: str
    hostname: str
    client_id: str
    iaid: str
    expires: int  # seconds since the epoch; 0: never


def read_leases(path: Path, now: float, mac: str | None = None) -> list[DhcpLease]:
    """Read the leases that have not expired; none where there is no database yet.

    Args:
        path: of the database.
        now: seconds since the epoch.
        mac: whose leases; None: all.
    """
    try:
        if path.stat().st_size > MAX_DATABASE:
            log.error("%s is too large to be a lease database", path)
            return []
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        log.error("leases cannot be read: %s", error)
        return []
    return parse_leases(data, now, str(path), mac)


def parse_leases(data: bytes, now: float, where: str, mac: str | None = None) -> list[DhcpLease]:
    """Decode a database; entries without a valid address are left out.

    Args:
        data: the database.
        now: seconds since the epoch; leases that expire before are left out.
        where: it is, for the log.
        mac: whose leases; None: all.
    """
    if not data.strip():
        return []
    try:
        records = msgspec.json.decode(data, type=list[LeaseRecord])
    except msgspec.MsgspecError as error:
        log.error("%s is no lease database: %s", where, error)
        return []
    if mac is not None:
        wanted = mac.lower()
        records = [entry for entry in records if entry.mac_address.lower() == wanted]
    return [lease for entry in records if (lease := _lease(entry, now)) is not None]


def _lease(entry: LeaseRecord, now: float) -> DhcpLease | None:
    if entry.expiry_time and entry.expiry_time <= now:
        return None
    text = entry.ip_address
    family, number = (socket.AF_INET6, 6) if ":" in text else (socket.AF_INET, 4)
    # A database has thousands of them: `ipaddress` would take most of a list's time.
    try:
        packed = socket.inet_pton(family, text)
    except (OSError, ValueError):
        return None
    return DhcpLease(
        number,
        text if number == 4 else socket.inet_ntop(family, packed),
        packed,
        entry.mac_address.lower(),
        entry.hostname,
        entry.client_id,
        entry.iaid,
        entry.expiry_time,
    )
