"""The file BRIDGE.macs: which domain has which MAC addresses on a network.

Owns: its text. Pure.
Source: libvirt 9.0's file, which its NSS module libvirt_guest reads beside the lease database.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from conf.network import NetworkPort


def format_macs(ports: Iterable[NetworkPort]) -> str:
    """Format the ports of a network: an array of objects, one for each domain."""
    macs: dict[str, list[str]] = {}
    for port in ports:
        if port.owner_name and port.mac and port.mac not in macs.setdefault(port.owner_name, []):
            macs[port.owner_name].append(port.mac)
    entries = [{"domain": name, "macs": owned} for name, owned in macs.items()]
    return json.dumps(entries, indent=2) + "\n"
