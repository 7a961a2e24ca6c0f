"""Backend of pool types that can be defined but not started.

Owns: those refusals.
"""

from __future__ import annotations

from supervisor.stord.backends.base import Overwrite, not_supported
from supervisor.stord.backends.directory import DirectoryBackend
from supervisor.stord.volume_info import PoolInfo


class UnsupportedBackend(DirectoryBackend):
    """Refuses every operation; such a pool is never active."""

    async def check(self) -> bool:
        """Return False: such a pool is never active."""
        return False

    async def start(self) -> None:
        """Refuse.

        Raises:
            VirError: NO_SUPPORT.
        """
        raise not_supported(self.context.pool, "starting")

    async def refresh(self) -> PoolInfo:
        """Refuse.

        Raises:
            VirError: NO_SUPPORT.
        """
        raise not_supported(self.context.pool, "refreshing")

    async def build(self, overwrite: Overwrite) -> None:
        """Refuse.

        Raises:
            VirError: NO_SUPPORT.
        """
        raise not_supported(self.context.pool, "building")

    async def delete(self) -> None:
        """Refuse.

        Raises:
            VirError: NO_SUPPORT.
        """
        raise not_supported(self.context.pool, "deleting")
