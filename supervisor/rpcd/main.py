"""rpcd: the front door, where clients' bytes become calls.

Owns: client connections and what is under way on them.
May touch: the listening sockets it is given; the other services over the bus.
May not touch: guests, files, networks.
Runs with: nothing; every byte that it reads is treated as hostile.
"""

from __future__ import annotations

import socket

from rpc import table
from supervisor.rpcd.router import Router
from supervisor.rpcd.transport.listener import Listener
from supervisor.runtime.child import ChildProcess


async def serve(process: ChildProcess) -> None:
    """Serve clients until the process is told to stop."""
    front = Router(process.node, table.load(), process.config, session=process.session)
    process.node.serve(front)

    def reload() -> None:
        front.config = process.config

    process.on_reload.append(reload)
    listeners = [
        Listener(front, socket.socket(fileno=fd), read_only=name == "ro")
        for name, fd in process.sockets.items()
    ]
    await process.ready()
    await process.stopping.wait()
    for listener in listeners:
        listener.close()
    for session in list(front.clients):
        session.close()
