"""sd_notify: report the daemon's state to the service manager.

Owns: nothing; one datagram to NOTIFY_SOCKET. Source: sd_notify(3).
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping


def notify(environ: Mapping[str, str], state: str) -> None:
    """Send "READY=1", "RELOADING=1" or "STOPPING=1" if a service manager started the daemon.

    A service manager that does not receive it is no error: the daemon runs without one as well.
    """
    address = environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.settimeout(1.0)
        # "@" is written for the NUL that begins a name in the abstract namespace (unix(7)).
        end.connect("\0" + address[1:] if address.startswith("@") else address)
        end.send(state.encode())
