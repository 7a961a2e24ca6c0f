"""stord's answers to guests' workers.

Owns: those. May not touch: anything; they come from memory.
"""

from __future__ import annotations

from typing import Final

from ipc import handles
from rpc.values import StorageVol as VolumeId
from supervisor.messages.stord import ResolvedVolume, ResolveVolume
from supervisor.stord.registry import PoolRegistry

#: The type of a disk with a volume of each type.
DISKS: Final = {"netdir": "network", "ploop": "dir"}


class Resolving:
    """What workers may ask."""

    def __init__(self, registry: PoolRegistry) -> None:
        """Answer from this."""
        self._registry = registry

    @handles(ResolveVolume)
    def resolve_volume(self, request: ResolveVolume) -> ResolvedVolume:
        """Say where a volume is."""
        _, _, volume = self._registry.volume(VolumeId(request.pool, request.volume, ""))
        kind = DISKS.get(volume.type, volume.type)
        return ResolvedVolume(type=kind, path=volume.path, format=volume.format)
