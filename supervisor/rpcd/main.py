"""rpcd: entry point of the process that clients connect to.

Owns: client connections and the calls that run on them.
May touch: the listening sockets it is given; the other services over the bus.
May not touch: guests, files, networks.
Runs without privileges; every byte that it reads may be hostile.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from rpc import keepalive, table
from supervisor.access.setup import open_access
from supervisor.rpcd.admin_calls import AdminCalls
from supervisor.rpcd.auth.auth_calls import AuthCalls
from supervisor.rpcd.auth.late_clients import LateClients
from supervisor.rpcd.client_table import Limits
from supervisor.rpcd.connect_calls import ConnectCalls
from supervisor.rpcd.programs import Programs
from supervisor.rpcd.router import Router
from supervisor.rpcd.server import Server, SocketPolicy, socket_policies
from supervisor.runtime.child import ChildProcess

ADMIN_PROGRAM: Final = 0x06900690


async def run(process: ChildProcess) -> None:
    """Serve clients until SIGTERM or the root's order to stop."""
    protocol = table.load()
    router = Router(process.node, protocol, session=process.session, access=open_access(process))
    server = Server(
        process.node,
        main_programs(protocol),
        router,
        Limits.from_config(process.config),
        socket_policies(process.config),
    )
    server.sasl.min_ssf = process.config.tcp_min_ssf
    process.node.serve(server.clients)
    servers = {"libvirtd": server}
    admin_calls = AdminCalls(process.node, servers, lambda: process.config)
    servers["admin"] = admin = Server(
        process.node,
        # The admin socket is for administrators alone, who may do everything.
        Programs([protocol.programs[ADMIN_PROGRAM]], admin_calls, AuthCalls(), has_access=False),
        router,
        Limits.of_admin(process.config),
        {"admin": SocketPolicy("none", read_only=False, administrators_only=True)},
        keeps_running=False,
    )

    def reload() -> None:
        admin.clients.limits = Limits.of_admin(process.config)
        server.clients.limits = Limits.from_config(process.config)
        server.policies = socket_policies(process.config)
        server.sasl.min_ssf = process.config.tcp_min_ssf
        if has_tls:
            task = asyncio.ensure_future(server.tls.reload(process.config))
            reloads.add(task)
            task.add_done_callback(reloads.discard)

    reloads: set[asyncio.Future[None]] = set()
    has_tls = any(name.startswith("tls") for name in process.sockets)
    if has_tls:
        await server.tls.load(process.config)
    process.on_reload.append(reload)
    late_clients = LateClients(lambda: server.clients.clients, asyncio.get_running_loop().time)
    watching = asyncio.create_task(late_clients.watch())
    for name, fd in process.sockets.items():
        (admin if name == "admin" else server).listen(name, socket.socket(fileno=fd))
    await process.ready()
    await process.stopping.wait()
    watching.cancel()
    admin.close()
    server.close()


def main_programs(protocol: table.ProtocolTable) -> Programs:
    """Build the programs of the main server: libvirt's API and each driver's extension."""
    # Keepalive has no calls: its messages are handled by the connection.
    others = (keepalive.PROGRAM, ADMIN_PROGRAM)
    programs = (program for number, program in protocol.programs.items() if number not in others)
    return Programs(programs, ConnectCalls(), AuthCalls())
