"""Files that a worker makes for new images, before QEMU writes to them.

Owns: making and removing them. May touch: those files alone. May not touch: their contents.
"""

from __future__ import annotations

import logging
import os

from rpc.errors import ErrorCode, ErrorDomain, VirError

log = logging.getLogger(__name__)


def create_file(path: str) -> bool:
    """Make an empty file for QEMU's user alone; whether it was made now.

    Raises:
        VirError: SYSTEM_ERROR: it cannot be made.
    """
    try:
        # O_EXCL: what somebody else has put there is not this image, and is not removed later.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return False
    except OSError as error:
        detail = f"failed to create image file '{path}': {error.strerror}"
        code = ErrorCode.SYSTEM_ERROR
        raise VirError(code, detail, ErrorDomain.QEMU, int1=error.errno or -1) from error
    return True


def remove_file(path: str) -> None:
    """Remove an image's file; an error is logged."""
    try:
        os.unlink(path)
    except OSError as error:
        log.warning("image file %s cannot be removed: %s", path, error)
