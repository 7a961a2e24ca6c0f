"""The host kernel's counters of guests' network interfaces.

Owns: reading /proc/net/dev.
"""

from __future__ import annotations


def interface_counters(name: str) -> tuple[int, ...] | None:
    """Read a tap's counters: rx bytes, packets, errors, drops, then tx; None: no such device.

    Both are the guest's: what the host's end transmits, the guest receives.
    """
    try:
        with open("/proc/net/dev", encoding="utf-8") as table:  # the worker's namespace
            for line in table:
                device, _, numbers = line.partition(":")
                if device.strip() == name:
                    counted = [int(number) for number in numbers.split()]
                    return (*counted[8:12], *counted[:4])
    except (OSError, ValueError):
        return None
    return None
