"""Authentication of one client: what it must do, and who it then is.

Owns: the interface between transports, the authentication calls and the access checks.
May not touch: sockets, the bus.

It is a stage between a transport and the messages: a scheme may exchange its own calls
(AUTH_SASL_*, AUTH_POLKIT), and may end with a security layer through which all later bytes pass
(SASL's integrity and privacy). TLS is no such layer: it belongs to its transport, which reports
the certificate's name in `Transport.identity`.
"""

from __future__ import annotations

import socket
from typing import Protocol

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.messages.authd import SaslReply
from supervisor.messages.calls import Identity


class Authentication(Protocol):
    """The authentication of one client."""

    @property
    def identity(self) -> Identity:
        """What is proved so far."""

    @property
    def is_complete(self) -> bool:
        """Whether the client may call more than the authentication calls."""

    @property
    def is_under_way(self) -> bool:
        """Whether authd has something of the client, which it must forget with it."""

    @property
    def types(self) -> tuple[int, ...]:
        """What AUTH_LIST answers: the scheme's remote_auth_type, or none."""

    async def polkit(self) -> None:
        """Authenticate by polkit (AUTH_POLKIT).

        Raises:
            VirError: AUTH_FAILED, AUTH_CANCELLED, AUTH_UNAVAILABLE.
        """

    async def sasl_mechanisms(self) -> list[str]:
        """List the mechanisms of SASL (AUTH_SASL_INIT).

        Raises:
            VirError: AUTH_FAILED.
        """

    async def sasl_start(self, mechanism: str, data: bytes | None) -> SaslReply:
        """Begin to authenticate by SASL with the client's choice (AUTH_SASL_START).

        Raises:
            VirError: AUTH_FAILED.
        """

    async def sasl_step(self, data: bytes | None) -> SaslReply:
        """Take a further message of the client (AUTH_SASL_STEP).

        Raises:
            VirError: AUTH_FAILED.
        """

    async def open_layer(self, client: socket.socket) -> socket.socket:
        """Put the client's socket below its security layer.

        Args:
            client: taken over.

        Returns:
            A socket with what the client means; bytes written to it reach the client protected.

        Raises:
            VirError: there is no layer, or it cannot be.
        """


class WithoutSasl:
    """The SASL calls of schemes that are none: refused, as by libvirtd."""

    is_under_way = False

    async def sasl_mechanisms(self) -> list[str]:
        """Refuse."""
        raise sasl_refused()

    async def sasl_start(self, mechanism: str, data: bytes | None) -> SaslReply:
        """Refuse."""
        raise sasl_refused()

    async def sasl_step(self, data: bytes | None) -> SaslReply:
        """Refuse."""
        raise sasl_refused()

    async def open_layer(self, client: socket.socket) -> socket.socket:
        """Refuse: there is no layer."""
        client.close()
        raise sasl_refused()


def sasl_refused() -> VirError:
    """AUTH_FAILED for a call of SASL where it is not the client's scheme."""
    return VirError(ErrorCode.AUTH_FAILED, "authentication failed", ErrorDomain.RPC)
