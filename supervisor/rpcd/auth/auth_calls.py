"""The authentication calls: AUTH_LIST, AUTH_SASL_*, AUTH_POLKIT.

Owns: one method per procedure, named as in the table.
May touch: the authentication of the client that calls. May not touch: sockets, the bus.
"""

from __future__ import annotations

from typing import Protocol

from supervisor.messages.authd import SaslReply
from supervisor.rpcd.auth.authentication import Authentication


class AuthenticatingClient(Protocol):
    """What these calls need of the client that makes them."""

    authentication: Authentication

    def protect_after_reply(self) -> None:
        """Put the connection below its security layer once the reply is sent."""


class AuthCalls:
    """One method per procedure; the first argument is the calling client."""

    def auth_list(self, client: AuthenticatingClient) -> list[int]:
        """Answer the authentication types that are open to the client."""
        return list(client.authentication.types)

    async def auth_sasl_init(self, client: AuthenticatingClient) -> str:
        """Begin to authenticate by SASL; answers the mechanisms, separated by commas.

        Raises:
            VirError: AUTH_FAILED.
        """
        return ",".join(await client.authentication.sasl_mechanisms())

    async def auth_sasl_start(
        self, client: AuthenticatingClient, mech: str, nil: int, data: bytes
    ) -> tuple[int, int, bytes]:
        """Take the client's choice of a mechanism, and its first message unless `nil`.

        Raises:
            VirError: AUTH_FAILED.
        """
        reply = await client.authentication.sasl_start(mech, None if nil else data)
        return _sasl_answer(client, reply)

    async def auth_sasl_step(
        self, client: AuthenticatingClient, nil: int, data: bytes
    ) -> tuple[int, int, bytes]:
        """Take a further message of the client.

        Raises:
            VirError: AUTH_FAILED.
        """
        return _sasl_answer(client, await client.authentication.sasl_step(None if nil else data))

    async def auth_polkit(self, client: AuthenticatingClient) -> int:
        """Authenticate by polkit; answers 1 when it is complete.

        Raises:
            VirError: AUTH_FAILED, AUTH_CANCELLED, AUTH_UNAVAILABLE.
        """
        await client.authentication.polkit()
        return 1


def _sasl_answer(client: AuthenticatingClient, reply: SaslReply) -> tuple[int, int, bytes]:
    if reply.ssf:
        client.protect_after_reply()
    return int(reply.is_complete), int(reply.data is None), reply.data or b""
