"""CheckpointTree: the checkpoints of one domain, and which of them a client's list has. Pure.

Owns: that. May not touch: files.
Source: libvirt 9.0, virDomainCheckpointObjList.
"""

from __future__ import annotations

from conf.checkpoint.model import Checkpoint
from rpc.enums import DomainCheckpointListFlags as ListFlags
from supervisor.domd.moments.tree import MomentTree


class CheckpointTree(MomentTree[Checkpoint]):
    """The checkpoints of one domain."""

    def list(self, flags: int, below: str = "") -> list[Checkpoint]:
        """List checkpoints as a client asks for them, parents before children.

        Args:
            flags: virDomainCheckpointListFlags.
            below: the checkpoint whose children are asked for; "": those of the domain.
        """
        # ROOTS and DESCENDANTS are one bit: it narrows the domain's list, and widens a child's.
        everything = bool(flags & ListFlags.DESCENDANTS) == bool(below)
        found = self.select(deep=everything, below=below)
        return [checkpoint for checkpoint in found if self._passes(checkpoint.name, flags)]

    def _passes(self, name: str, flags: int) -> bool:
        # Other than with snapshots, both flags together let nothing through.
        unwanted = ListFlags.LEAVES if self.has_children(name) else ListFlags.NO_LEAVES
        return not flags & unwanted

    def find_current(self) -> str | None:
        """Return the checkpoint that the next one's parent is, as files do not say it.

        A domain's checkpoints follow each other, so it is the only leaf. Redefined ones can have
        several: then it is the newest.
        """
        leaves = [one for one in self if not self.has_children(one.name)]
        newest = max(leaves, key=lambda one: one.creation_time or 0, default=None)
        return newest.name if newest is not None else None
