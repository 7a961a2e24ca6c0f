"""What becomes of files with a guest's memory when the guest has ended, or its worker has died.

Owns: that decision, from the status file. May touch: those files. May not touch: QEMU.
"""

from __future__ import annotations

import logging
import os

from supervisor.objects.domain_status_xml import LoadedMemory, MemoryFile, Status
from supervisor.workers.qemu.migration.target_file import discard, publish

log = logging.getLogger(__name__)


def clean_up_memory(status: Status) -> None:
    """Finish a complete file of a guest that has ended, remove a partial one.

    One that this process is writing is left to the job: its stream may be whole by now.
    """
    if status.memory_file is not None and status.memory_file.writer != os.getpid():
        end_file(status.memory_file)
    if status.loaded is not None:
        set_aside(status.loaded)
    status.memory_file = status.loaded = None


def end_file(file: MemoryFile) -> None:
    """Give a complete file its name, unless it has it; or remove what there is of another one."""
    if not file.complete:
        discard(file.temporary)
        return
    try:
        publish(file.temporary, file.path)
    except FileNotFoundError:
        return  # its writer died after that
    except OSError as error:
        log.error("the saved state is in %s, not in %s: %s", file.temporary, file.path, error)


def remove_image(loaded: LoadedMemory) -> None:
    """Remove the image of a managed save whose guest runs on: it must never be restored again."""
    if not loaded.image:
        return
    try:
        os.unlink(loaded.image)
    except FileNotFoundError:
        return
    except OSError as error:
        log.error(
            "the managed state %s cannot be removed; remove it before the next start: %s",
            loaded.image,
            error,
        )


def set_aside(loaded: LoadedMemory) -> None:
    """Rename the image of a guest that has ended, perhaps before it ran and perhaps after that.

    Restored again, its memory would not fit what the guest has written to its disks since; removed,
    it would be lost for a guest that never ran.
    """
    if not loaded.image or not os.path.exists(loaded.image):
        return
    aside = f"{loaded.image}.interrupted"
    log.error(
        "the guest ended while it was restored from %s, which is kept as %s: rename it back only "
        "if its disks are as they were",
        loaded.image,
        aside,
    )
    try:
        os.replace(loaded.image, aside)
    except OSError as error:
        log.error("%s cannot be renamed: %s", loaded.image, error)
