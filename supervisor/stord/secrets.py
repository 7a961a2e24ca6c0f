"""Secrets that pools and volumes name: hostd keeps them.

Owns: asking for them. What it is told is never logged.
"""

from __future__ import annotations

from ipc import Node
from supervisor.messages.secrets import GetSecret
from supervisor.stord.backends.base import SecretName


class SecretsClient:
    """The host's secrets."""

    def __init__(self, node: Node) -> None:
        """Ask on this bus."""
        self._node = node

    async def find(self, secret: SecretName) -> bytes:
        """A secret's value.

        Raises:
            VirError: NO_SECRET.
            BusError: hostd does not answer.
        """
        request = GetSecret(usage_type=secret.kind, uuid=secret.uuid, usage=secret.usage)
        answer = await self._node.link("hostd").call(request)
        return answer.value
