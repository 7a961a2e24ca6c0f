"""polkit: the host's own rules decide who may manage it. authd asks them.

Owns: how far one client is. May touch: authd. May not touch: sockets, D-Bus.
"""

from __future__ import annotations

from typing import Final

from ipc import BusError, Node
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.messages.authd import CheckPolkit
from supervisor.messages.calls import Identity
from supervisor.rpcd.auth.authentication import WithoutSasl

AUTH_POLKIT: Final = 2  # remote_auth_type
MONITOR: Final = "org.libvirt.unix.monitor"
MANAGE: Final = "org.libvirt.unix.manage"


class PolkitAuthentication(WithoutSasl):
    """The authentication of a client that polkit must allow (`Authentication`)."""

    types = (AUTH_POLKIT,)

    def __init__(self, identity: Identity, name: str, node: Node, *, read_only: bool) -> None:
        self.identity = identity
        self.is_complete = False
        self._name = name
        self._node = node
        self._action = MONITOR if read_only else MANAGE

    async def polkit(self) -> None:
        """Ask polkit, which may ask the user by an agent.

        Raises:
            VirError: AUTH_FAILED, AUTH_CANCELLED, AUTH_UNAVAILABLE.
        """
        identity = self.identity
        check = CheckPolkit(
            name=self._name, pid=identity.pid, uid=identity.uid, action=self._action
        )
        try:
            await self._node.link("authd").call(check)
        except BusError as error:
            detail = f"polkit cannot be asked: {error}"
            raise VirError(ErrorCode.AUTH_FAILED, detail, ErrorDomain.POLKIT) from error
        self.is_complete = True
