"""polkit: the host's own rules decide who may manage it. Not asked yet: all are refused."""

from __future__ import annotations

from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.messages.calls import Identity

AUTH_POLKIT: Final = 2  # remote_auth_type


class PolkitAuthentication:
    """The authentication of a client that polkit must allow (`Authentication`)."""

    is_complete = False
    types = (AUTH_POLKIT,)
    security_layer = None

    def __init__(self, identity: Identity) -> None:
        self.identity = identity

    def polkit(self) -> None:
        """Refuse.

        Raises:
            VirError: AUTH_FAILED.
        """
        detail = (
            "polkit is not asked by this daemon yet: connect as root, or set "
            'auth_unix_rw = "none" with unix_sock_group in libvirtd.conf'
        )
        raise VirError(ErrorCode.AUTH_FAILED, detail, ErrorDomain.RPC)
