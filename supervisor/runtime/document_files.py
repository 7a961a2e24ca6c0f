"""Files that hold one XML document: written durably, and never larger than is read back.

Owns: that limit. May not touch: what the XML means.

A document that is acknowledged is there after a restart: one that would not be read again is
refused when it is written. Formatting makes it larger than what the client sent (4 MiB in the
protocol): each apostrophe becomes six characters.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from supervisor.runtime.atomic_file import make_folder, write_file

MAX_DOCUMENT: Final = 16 * 1024 * 1024  # bytes


def write_document(path: Path, text: str, *, mode: int = 0o600, durable: bool = True) -> None:
    """Write a document; its folder is created.

    Args:
        path: the file.
        text: all of it, the header included.
        mode: its permissions.
        durable: as for `write_file`.

    Raises:
        OSError: nothing has changed; EFBIG: it could not be read back.
    """
    data = text.encode()
    check_size(path, data)
    try:
        write_file(path, data, mode=mode, durable=durable)
    except FileNotFoundError:  # only a first write has to make the folder
        make_folder(path.parent)
        write_file(path, data, mode=mode, durable=durable)


def check_size(path: Path, data: bytes) -> None:
    """Refuse a document that would not be read back.

    Raises:
        OSError: EFBIG.
    """
    if len(data) > MAX_DOCUMENT:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))


def read_document(path: Path) -> str:
    """Read a document.

    Raises:
        OSError: it cannot be read. ValueError: it is too large, or no UTF-8.
    """
    with path.open("rb") as file:
        data = file.read(MAX_DOCUMENT + 1)
    if len(data) > MAX_DOCUMENT:
        raise ValueError(f"it has over {MAX_DOCUMENT} bytes")
    return data.decode()
