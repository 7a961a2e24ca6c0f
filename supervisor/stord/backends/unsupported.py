"""Kinds of pools that can be defined and described, but not started by this daemon.

Owns: that refusal.
"""

from __future__ import annotations

from supervisor.stord.backends.base import Overwrite, unsupported
from supervisor.stord.backends.directory import Folder
from supervisor.stord.volume_info import PoolFacts


class Missing(Folder):
    """A pool that is never active."""

    async def check(self) -> bool:
        """It is never active."""
        return False

    async def start(self) -> None:
        """Refuse.

        Raises:
            VirError: NO_SUPPORT.
        """
        raise unsupported(self.means.pool, "starting")

    async def refresh(self) -> PoolFacts:
        """Refuse.

        Raises:
            VirError: NO_SUPPORT.
        """
        raise unsupported(self.means.pool, "refreshing")

    async def build(self, overwrite: Overwrite) -> None:
        """Refuse.

        Raises:
            VirError: NO_SUPPORT.
        """
        raise unsupported(self.means.pool, "building")

    async def delete(self) -> None:
        """Refuse.

        Raises:
            VirError: NO_SUPPORT.
        """
        raise unsupported(self.means.pool, "deleting")
