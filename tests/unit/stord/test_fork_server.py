"""Fork server of the pools' helper processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket

from supervisor.stord.pool_process.fork_server import ForkServer


def wait_for_eof(connection: socket.socket) -> None:
    connection.recv(1)


async def test_a_cancelled_fork_does_not_mix_up_the_next_ones() -> None:
    server = ForkServer.start(wait_for_eof)
    try:
        for _ in range(5):
            fork = asyncio.create_task(server.fork())
            await asyncio.sleep(0)  # the request is sent, its reply has not arrived
            fork.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                process = await fork
                process.connection.close()
                os.close(process.pidfd)
        process = await server.fork()
        signal.pidfd_send_signal(process.pidfd, signal.SIGKILL)
        process.connection.setblocking(False)
        # End of file: the socket and the pidfd are of the same process.
        assert await asyncio.get_running_loop().sock_recv(process.connection, 1) == b""
        process.connection.close()
        os.close(process.pidfd)
    finally:
        server.close()
        await asyncio.sleep(0)
