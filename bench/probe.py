"""Small calls on a connection of its own, in a process of its own: how long each one waits.

python -m bench.probe URI pool|network NAME     prints start and end (s) of each call
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Final

from tests.clients.libvirt_binding import libvirt

CALLS: Final[dict[str, Callable[[Any, str], object]]] = {
    "pool": lambda link, name: link.storagePoolLookupByName(name).info(),  # stord answers each time
    "network": lambda link, name: link.networkLookupByName(name).DHCPLeases(),  # of one that is off
}


def main() -> None:
    """Call until this process is ended."""
    uri, kind, name = sys.argv[1:]
    link = libvirt.open(uri)
    while True:
        began = time.perf_counter()
        CALLS[kind](link, name)
        sys.stdout.write(f"{began} {time.perf_counter()}\n")
        sys.stdout.flush()
        time.sleep(0.001)


if __name__ == "__main__":
    main()
