"""Puts a client's connection below the security layer of its authentication.

Owns: that change. May touch: the client's connection. May not touch: its calls.
"""

from __future__ import annotations

from rpc.errors import VirError
from supervisor.rpcd.auth.authentication import Authentication
from supervisor.rpcd.connection import Connection
from supervisor.rpcd.transport.connected import SocketTransport


async def protect(connection: Connection, authentication: Authentication) -> None:
    """Have all later bytes pass through the layer; a client for which that fails is closed."""
    former = connection.transport
    try:
        client = former.detach()
    except ValueError as error:
        connection.drop(f"its security layer cannot be opened: {error}")
        return
    try:
        plain = await authentication.open_layer(client)
    except VirError as error:
        connection.abandon(f"its security layer cannot be opened: {error}")
        return
    transport = SocketTransport(
        plain,
        authentication.identity,
        former.name,
        is_secure=True,
        addresses=former.addresses,
    )
    transport.passes_descriptors = False
    try:
        connection.change_transport(transport)
    except ValueError as error:
        transport.close()
        connection.abandon(str(error))
