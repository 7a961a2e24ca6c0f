"""SASL: names and passwords, Kerberos. authd holds the conversation.

Owns: how far one client is. May touch: authd. May not touch: the client's socket, libsasl2.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable
from typing import Final, TypeVar

import msgspec

from ipc import BusError, Descriptor, Node
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.messages.authd import (
    BeginSasl,
    OpenSaslLayer,
    SaslPeer,
    SaslReply,
    StartSasl,
    StepSasl,
)
from supervisor.rpcd.auth.authentication import sasl_refused
from supervisor.rpcd.transport.transport import Transport

AUTH_SASL: Final = 1  # remote_auth_type

T = TypeVar("T")


class SaslAuthentication:
    """The authentication of a client by SASL (`Authentication`)."""

    types = (AUTH_SASL,)

    def __init__(self, transport: Transport, node: Node, client: str) -> None:
        """Begin.

        Args:
            transport: of the client.
            node: with a link to authd.
            client: its identifier; authd ends the conversation when rpcd says that it is gone.
        """
        self.identity = transport.identity
        self.is_complete = False
        self._authd = node.link("authd")
        self._id = client
        self._peer = SaslPeer(
            id=self._id,
            name=transport.name,
            local=transport.addresses[0],
            remote=transport.addresses[1],
            is_protected=transport.is_secure,
            external_ssf=transport.cipher_bits,
            external_name=transport.identity.tls_dn,
        )

    async def polkit(self) -> None:
        """Refuse: the socket demands SASL.

        Raises:
            VirError: AUTH_FAILED.
        """
        raise sasl_refused()

    async def sasl_mechanisms(self) -> list[str]:
        """Begin a conversation.

        Raises:
            VirError: AUTH_FAILED.
        """
        if self.is_complete:
            raise sasl_refused()
        return (await _asked(self._authd.call(BeginSasl(peer=self._peer)))).names

    async def sasl_start(self, mechanism: str, data: bytes | None) -> SaslReply:
        """Take the client's choice of a mechanism.

        Raises:
            VirError: AUTH_FAILED.
        """
        request = StartSasl(id=self._id, mechanism=mechanism, data=data)
        return self._advanced(await _asked(self._authd.call(request)))

    async def sasl_step(self, data: bytes | None) -> SaslReply:
        """Take a further message of the client.

        Raises:
            VirError: AUTH_FAILED.
        """
        return self._advanced(await _asked(self._authd.call(StepSasl(id=self._id, data=data))))

    def _advanced(self, reply: SaslReply) -> SaslReply:
        if reply.is_complete:
            self.identity = msgspec.structs.replace(self.identity, sasl_name=reply.username)
            self.is_complete = True
        return reply

    async def open_layer(self, client: socket.socket) -> socket.socket:
        """Give authd the client's socket; it copies through the layer.

        Raises:
            VirError: AUTH_FAILED.
        """
        request = OpenSaslLayer(id=self._id, client=Descriptor(client.detach()))
        layer = await _asked(self._authd.call(request))
        return socket.socket(fileno=layer.plain.take())


async def _asked(answer: Awaitable[T]) -> T:
    """Wait for authd.

    Raises:
        VirError: AUTH_FAILED, also when authd does not answer.
    """
    try:
        return await answer
    except BusError as error:
        detail = f"authentication failed: {error}"
        raise VirError(ErrorCode.AUTH_FAILED, detail, ErrorDomain.RPC) from error
