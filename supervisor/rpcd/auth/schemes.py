"""Which scheme authenticates a client. Pure.

Owns: that choice. May not touch: sockets, the bus.
"""

from __future__ import annotations

import os

from ipc import Node
from supervisor.rpcd.auth.authentication import Authentication
from supervisor.rpcd.auth.none import NoAuthentication
from supervisor.rpcd.auth.polkit import PolkitAuthentication
from supervisor.rpcd.auth.sasl import SaslAuthentication, SaslService
from supervisor.rpcd.transport.transport import Transport


def start_authentication(
    scheme: str,
    transport: Transport,
    node: Node,
    sasl: SaslService,
    client: str,
    *,
    read_only: bool,
    session: bool,
) -> Authentication:
    """Begin to authenticate a client.

    Args:
        scheme: of the socket that it came by: "none", "polkit" or "sasl" (auth_unix_rw and others).
        transport: that it came by.
        node: with a link to authd.
        sasl: what authd offers.
        client: its identifier.
        read_only: whether it came by the read-only socket.
        session: a daemon of one user, who needs no scheme to reach it.
    """
    identity = transport.identity
    is_own_user = session and identity.uid == os.getuid()
    if scheme == "none" or is_own_user:
        return NoAuthentication(identity)
    if scheme == "sasl":
        return SaslAuthentication(transport, sasl, client)
    # As libvirt: root passes without polkit, so that it is not locked out where polkit is broken.
    if identity.uid == 0:
        return NoAuthentication(identity)
    return PolkitAuthentication(identity, transport.name, node, read_only=read_only)
