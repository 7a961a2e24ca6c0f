"""Pools on disk: definitions, the links that start them with the host, which are active.

Owns: the files under `etc/libvirt/storage` and `run/libvirt/storage`.
May not touch: what documents mean; pools' own folders and devices.
"""

from __future__ import annotations

from supervisor.objects import status_files
from supervisor.objects.definition_files import Folders
from supervisor.runtime.paths import Paths
from supervisor.stord.registry import POOLS


class PoolFiles(status_files.StatusFiles):
    """The pools of one daemon on disk; everything here blocks."""

    def __init__(self, paths: Paths) -> None:
        """Make the folders.

        Raises:
            OSError: they cannot be made.
        """
        super().__init__(
            POOLS,
            Folders(
                definitions=paths.storage(),
                links=paths.storage_autostart(),
                status=paths.storage_status_dir(),
            ),
            mark=paths.lib / "storage/default-defined",
        )
