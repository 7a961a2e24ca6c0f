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
    ListMechanisms,
    OpenSaslLayer,
    SaslPeer,
    SaslReply,
    StartSasl,
    StepSasl,
)
from supervisor.rpcd.auth.authentication import sasl_refused
from supervisor.rpcd.transport.transport import Transport

AUTH_SASL: Final = 1  # remote_auth_type
AUTHD: Final = "authd"

T = TypeVar("T")


class SaslService:
    """SASL as authd offers it.

    The mechanisms are the same for all clients that are as protected, as long as authd runs: it is
    asked for them once, which saves each client a wait.
    """

    def __init__(self, node: Node) -> None:
        self.authd = node.link(AUTHD)
        self.min_ssf = 0  # tcp_min_ssf of libvirtd.conf
        self._offers: dict[tuple[bool, int, bool, int], list[str]] = {}
        self._lives = 0  # of authd that have ended
        node.on_peer_lost.append(self._peer_lost)

    async def mechanisms(self, peer: SaslPeer) -> list[str]:
        """List what a client may choose from.

        Raises:
            VirError: AUTH_FAILED: nothing.
        """
        key = (peer.is_protected, peer.external_ssf, bool(peer.external_name), self.min_ssf)
        offer = self._offers.get(key)
        if offer is None:
            life = self._lives
            request = ListMechanisms(peer=peer, min_ssf=self.min_ssf)
            offer = (await _asked(self.authd.call(request))).names
            if life == self._lives:
                self._offers[key] = offer
        return offer

    def _peer_lost(self, name: str) -> None:
        if name == AUTHD:  # the next one reads SASL's configuration anew
            self._lives += 1
            self._offers.clear()


class SaslAuthentication:
    """The authentication of a client by SASL (`Authentication`)."""

    types = (AUTH_SASL,)

    def __init__(self, transport: Transport, service: SaslService, client: str) -> None:
        """Begin.

        Args:
            transport: of the client.
            service: authd's.
            client: its identifier; authd ends the conversation when rpcd says that it is gone.
        """
        self.identity = transport.identity
        self.is_complete = False
        self.is_under_way = False
        self._is_offered = False
        self._service = service
        self._authd = service.authd
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
        """List what the client may choose from.

        Raises:
            VirError: AUTH_FAILED.
        """
        if self.is_complete:
            raise sasl_refused()
        names = await self._service.mechanisms(self._peer)
        self._is_offered = True
        return names

    async def sasl_start(self, mechanism: str, data: bytes | None) -> SaslReply:
        """Begin a conversation with the client's choice of a mechanism.

        Raises:
            VirError: AUTH_FAILED.
        """
        if self.is_complete or not self._is_offered:
            raise sasl_refused()
        self.is_under_way = True
        request = StartSasl(peer=self._peer, mechanism=mechanism, data=data)
        return self._advanced(await _asked(self._authd.call(request)))

    async def sasl_step(self, data: bytes | None) -> SaslReply:
        """Take a further message of the client.

        Raises:
            VirError: AUTH_FAILED.
        """
        if self.is_complete or not self.is_under_way:
            raise sasl_refused()
        return self._advanced(await _asked(self._authd.call(StepSasl(id=self._id, data=data))))

    def _advanced(self, reply: SaslReply) -> SaslReply:
        if reply.is_complete:
            self.identity = msgspec.structs.replace(self.identity, sasl_name=reply.username)
            self.is_complete = True
            self.is_under_way = bool(reply.ssf)  # until the layer is opened
        return reply

    async def open_layer(self, client: socket.socket) -> socket.socket:
        """Give authd the client's socket; it copies through the layer.

        Raises:
            VirError: AUTH_FAILED.
        """
        request = OpenSaslLayer(id=self._id, client=Descriptor(client.detach()))
        layer = await _asked(self._authd.call(request))
        self.is_under_way = False
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
