"""Authentication of one client: what it must do, and who it then is.

Owns: the interface between transports, the authentication calls and the access checks.
May not touch: sockets, the bus.

It is a stage between a transport and the messages: a scheme may exchange its own calls
(AUTH_SASL_*, AUTH_POLKIT), and may leave a security layer through which all later bytes pass
(SASL's integrity and privacy). TLS is no such layer: it belongs to its transport, which reports
the certificate's name in `Transport.identity`.
"""

from __future__ import annotations

import os
from typing import Protocol

from supervisor.messages.calls import Identity
from supervisor.rpcd.auth.none import NoAuthentication
from supervisor.rpcd.auth.polkit import PolkitAuthentication


class SecurityLayer(Protocol):
    """Transforms every byte of a connection once its authentication is complete."""

    def unwrap(self, data: bytes) -> bytes:
        """Turn bytes of the transport into bytes of messages.

        Raises:
            ValueError: the bytes are not the layer's; the connection is of no more use.
        """

    def wrap(self, data: bytes) -> bytes:
        """Turn bytes of messages into bytes of the transport."""


class Authentication(Protocol):
    """The authentication of one client."""

    @property
    def identity(self) -> Identity:
        """What is proved so far."""

    @property
    def is_complete(self) -> bool:
        """Whether the client may call more than the authentication calls."""

    @property
    def types(self) -> tuple[int, ...]:
        """What AUTH_LIST answers: the scheme's remote_auth_type, or none."""

    @property
    def security_layer(self) -> SecurityLayer | None:
        """What all bytes pass through from now on."""

    def polkit(self) -> None:
        """Authenticate by polkit (AUTH_POLKIT).

        Raises:
            VirError: AUTH_FAILED.
        """


def start_authentication(scheme: str, identity: Identity, *, session: bool) -> Authentication:
    """Begin to authenticate a client.

    Args:
        scheme: of the socket that it came by: "none", "polkit" or "sasl" (auth_unix_rw and others).
        identity: what the transport knows of it.
        session: a daemon of one user, who needs no scheme to reach it.
    """
    # As libvirt: root passes without polkit, so that it is not locked out where polkit is broken.
    is_owner = identity.uid == 0 or (session and identity.uid == os.getuid())
    if scheme == "none" or is_owner:
        return NoAuthentication(identity)
    return PolkitAuthentication(identity)
