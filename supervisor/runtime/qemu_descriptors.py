"""QEMU's descriptors: JSON files by which packages say what they bring, such as firmware.

Owns: which files count, in which order. May touch: the descriptors, for reading.
Source: QEMU's docs/interop/firmware.json and vhost-user.json.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final, TypeVar

import msgspec

T = TypeVar("T")

log: Final = logging.getLogger(__name__)


def read_descriptors(directories: Iterable[Path], model: type[T]) -> list[T]:
    """Read descriptors, in order of their file names; unreadable ones are logged and left out.

    Args:
        directories: a file replaces files of the same name in earlier directories; an empty file,
            or a link to /dev/null, hides them.
        model: what one descriptor is.
    """
    files = {path.name: path for folder in directories for path in sorted(folder.glob("*.json"))}
    descriptors = []
    for _, path in sorted(files.items()):
        try:
            content = path.read_bytes()
            if content:
                descriptors.append(msgspec.json.decode(content, type=model))
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("descriptor '%s' is ignored: %s", path, error)
    return descriptors
