"""What the host's kernel has counted for guests' cards.

Owns: reading it. May touch: the kernel's table of devices, to read.
"""

from __future__ import annotations


def interface_counters(name: str) -> tuple[int, ...] | None:
    """What the kernel has counted for a tap: rx bytes, packets, errors, drops, then tx.

    The host sends what the guest receives: the two sides are exchanged here. None: no such device.
    """
    try:
        with open("/proc/net/dev", encoding="utf-8") as table:  # of our own network namespace
            for line in table:
                device, _, numbers = line.partition(":")
                if device.strip() == name:
                    counted = [int(number) for number in numbers.split()]
                    return (*counted[8:12], *counted[:4])
    except (OSError, ValueError):
        return None
    return None
