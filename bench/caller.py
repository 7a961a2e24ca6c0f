"""A client that makes simple calls when it is told to, in a process of its own.

    python -m bench.caller URI      a line with a number on standard input: make so many calls

Owns: its connection. It answers each line with the processor time that the calls took it, in ms.
"""

from __future__ import annotations

import sys
import time

from tests.clients.libvirt_binding import libvirt


def main() -> None:
    """Call until standard input ends."""
    link = libvirt.open(sys.argv[1])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        began = time.process_time()
        for _ in range(int(line)):
            link.getLibVersion()
        sys.stdout.write(f"{(time.process_time() - began) * 1e3}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
