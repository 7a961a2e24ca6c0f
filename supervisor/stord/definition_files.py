"""Files of pools: definitions, autostart links, status.

Owns: the files under `etc/libvirt/storage` and `run/libvirt/storage`.
May not touch: what the XML means; the storage of pools.
"""

from __future__ import annotations

from supervisor.objects import status_files
from supervisor.objects.definition_files import Folders
from supervisor.runtime.paths import Paths
from supervisor.stord.registry import POOLS


class PoolFiles(status_files.StatusFiles):
    """The files of one daemon's pools; every method blocks."""

    def __init__(self, paths: Paths) -> None:
        """Create the folders.

        Raises:
            OSError: they cannot be created.
        """
        super().__init__(
            POOLS,
            Folders(
                definitions=paths.storage(),
                links=paths.storage_autostart(),
                status=paths.storage_status_dir(),
                journal=paths.change_journal("storage"),
            ),
            mark=paths.lib / "storage/default-defined",
        )
