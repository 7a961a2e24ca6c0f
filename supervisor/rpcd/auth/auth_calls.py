"""The authentication calls: AUTH_LIST, AUTH_POLKIT, later AUTH_SASL_*.

Owns: one method per procedure, named as in the table.
May touch: the authentication of the client that calls. May not touch: sockets, the bus.
"""

from __future__ import annotations

from typing import Protocol

from supervisor.rpcd.auth.authentication import Authentication


class AuthenticatingClient(Protocol):
    """What these calls need of the client that makes them."""

    authentication: Authentication


class AuthCalls:
    """One method per procedure; the first argument is the calling client."""

    def auth_list(self, client: AuthenticatingClient) -> list[int]:
        """Answer the authentication types that are open to the client."""
        return list(client.authentication.types)

    def auth_polkit(self, client: AuthenticatingClient) -> int:
        """Authenticate by polkit; answers 1 when it is complete.

        Raises:
            VirError: AUTH_FAILED.
        """
        client.authentication.polkit()
        return 1
