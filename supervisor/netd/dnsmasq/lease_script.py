"""dnsmasq's --dhcp-script: writes the lease database when a lease is added, renewed or deleted.

Owns: the database of one network, whose path is in VIRTVISOR_LEASES.
May touch: that file alone. It runs by itself, as root, with nothing but the standard library.
Source: dnsmasq(8), "--dhcp-script" and "--leasefile-ro"; the database is libvirt's, an array of
objects, so that libvirt's NSS modules can read it.
"""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence

Lease = dict[str, str | int]

OPTIONAL = (
    ("DNSMASQ_CLIENT_ID", "client-id"),
    ("DNSMASQ_IAID", "iaid"),
    ("DNSMASQ_SERVER_DUID", "server-duid"),
)


def update_leases(
    leases: Sequence[Lease], args: Sequence[str], environ: Mapping[str, str], now: float
) -> list[Lease]:
    """Apply dnsmasq's "add", "old" or "del" with MAC or DUID, IP address and host name.

    Those that have run out are left out.
    """
    action, hardware, address = args[0], args[1], args[2]
    remaining = [
        lease
        for lease in leases
        if lease.get("ip-address") != address and not has_expired(lease, now)
    ]
    if action == "del":
        return remaining
    previous = next((lease for lease in leases if lease.get("ip-address") == address), {})
    lease: Lease = {"ip-address": address}
    if "DNSMASQ_IAID" in environ:  # IPv6: the second argument is the client's DUID
        lease["client-id"] = hardware
        hardware = environ.get("DNSMASQ_MAC", str(previous.get("mac-address", "")))
    if hardware:
        lease["mac-address"] = hardware
    name = args[3] if len(args) > 3 else environ.get("DNSMASQ_SUPPLIED_HOSTNAME", "")
    if name:
        lease["hostname"] = name
    for variable, key in OPTIONAL:
        value = environ.get(variable) or previous.get(key)
        if value:
            lease.setdefault(key, value)
    lease["expiry-time"] = expiry(environ, now)
    return [*remaining, lease]


def expiry(environ: Mapping[str, str], now: float) -> int:
    """Return the end of the lease in seconds since the epoch; 0: infinite."""
    if "DNSMASQ_LEASE_EXPIRES" in environ:
        return int(environ["DNSMASQ_LEASE_EXPIRES"])
    if "DNSMASQ_LEASE_LENGTH" in environ:  # a dnsmasq without a clock that can be trusted
        return int(now) + int(environ["DNSMASQ_LEASE_LENGTH"])
    return 0


def has_expired(lease: Lease, now: float) -> bool:
    """Return whether a lease has expired."""
    end = int(lease.get("expiry-time", 0))
    return end != 0 and end <= now


def dnsmasq_lease_lines(leases: Sequence[Lease], now: float) -> list[str]:
    """Format the leases as dnsmasq's lease file, which it reads from us at start ("init")."""
    lines, of_ipv6, duid = [], [], ""
    for lease in leases:
        if has_expired(lease, now):
            continue
        end, address = lease.get("expiry-time", 0), lease["ip-address"]
        name, client = lease.get("hostname", "*"), lease.get("client-id", "*")
        if "iaid" in lease:
            duid = str(lease.get("server-duid", duid))
            of_ipv6.append(f"{end} {lease['iaid']} {address} {name} {client}")
        elif "mac-address" in lease:
            lines.append(f"{end} {lease['mac-address']} {address} {name} {client}")
    return [*lines, f"duid {duid}", *of_ipv6] if duid else lines


def read(path: str) -> list[Lease]:
    """Read the database; an empty or damaged one has no leases."""
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError):
        return []
    if not isinstance(content, list):
        return []
    return [lease for lease in content if isinstance(lease, dict) and "ip-address" in lease]


def write(path: str, leases: Sequence[Lease]) -> None:
    """Replace the database atomically."""
    temporary = f"{path}.{os.getpid()}.new"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(leases, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, path)


def main(args: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one command of dnsmasq and return the exit status."""
    path = environ.get("VIRTVISOR_LEASES", "")
    if not path or not args:
        sys.stderr.write("this is run by dnsmasq for a network of virtvisor's\n")
        return 1
    if args[0] == "init":
        for line in dnsmasq_lease_lines(read(path), time.time()):
            sys.stdout.write(f"{line}\n")
    elif args[0] in ("add", "old", "del") and len(args) >= 3:
        previous = read(path)
        leases = update_leases(previous, args, environ, time.time())
        if leases != previous:
            write(path, leases)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
