"""No authentication: the socket's permissions, or being root, are enough."""

from __future__ import annotations

from typing import Final

from supervisor.messages.calls import Identity
from supervisor.rpcd.auth.authentication import WithoutSasl

AUTH_NONE: Final = 0  # remote_auth_type


class NoAuthentication(WithoutSasl):
    """The authentication of a client that needs none (`Authentication`)."""

    is_complete = True
    types = (AUTH_NONE,)

    def __init__(self, identity: Identity) -> None:
        self.identity = identity

    async def polkit(self) -> None:
        """Accept: a client may ask for polkit where nothing is demanded."""
