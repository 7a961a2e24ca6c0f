"""What an image calls the one below it: a path, a URL, or QEMU's JSON.

Owns: making a place of such a name. Pure: no path is looked up.
May not touch: files. The names come out of images, perhaps a guest wrote them.
Source: QEMU's documents of "Device URL Syntax" and of the "json:" pseudo-protocol.
"""

from __future__ import annotations

import json
import os.path
import re
from dataclasses import dataclass
from typing import Final

from conf.errors import ConfError

#: Protocols that QEMU reads images from, beside files.
REMOTE: Final = frozenset(
    (
        "nbd", "nbd+tcp", "nbd+unix", "http", "https", "ftp", "ftps", "tftp", "iscsi", "rbd",
        "ssh", "nfs", "gluster", "gluster+tcp", "gluster+unix", "gluster+rdma", "sheepdog", "vxhs",
        "fat", "blkdebug", "nvme",
    )
)  # fmt: skip
_LOCAL_DRIVERS: Final = ("file", "host_device", "host_cdrom")
_PROTOCOL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?")
MAX_NESTING: Final = 8


@dataclass(frozen=True, slots=True)
class Place:
    """Where an image is."""

    path: str = ""  # of a local one, absolute
    remote: str = ""  # of another: what the header says of it, in full
    format: str | None = None  # where the name itself says it


def place_of(name: str, image: str) -> Place:
    """Find what a backing file's name stands for.

    Args:
        name: as the header has it.
        image: the path of the image with that header; relative names start at its folder.

    Raises:
        ConfError: "internal": the name makes no sense.
    """
    if name.startswith("json:"):
        return _of_json(name, image)
    found = _PROTOCOL.match(name)
    if found is None or "/" in name[: found.start(2) if found[2] else found.end()]:
        return Place(path=_absolute(name, image))
    protocol = found[1].lower()
    if protocol == "file":
        return Place(path=_absolute(name[len("file:") :].removeprefix("//"), image))
    if protocol in REMOTE:
        return Place(remote=name)
    if found[2]:
        raise _senseless(name, image, f"the protocol '{protocol}' is unknown")
    return Place(path=_absolute(name, image))


def _absolute(path: str, image: str) -> str:
    """A path by itself; the one of a relative name is taken from the image's folder."""
    return os.path.normpath(os.path.join(os.path.dirname(image), path))


def _of_json(name: str, image: str) -> Place:
    try:
        said = json.loads(name.removeprefix("json:"))
    except (ValueError, RecursionError):
        raise _senseless(name, image, "it is no JSON") from None
    form: str | None = None
    for _ in range(MAX_NESTING):
        if not isinstance(said, dict):
            break
        said = _unfolded(said)
        driver, below = said.get("driver"), said.get("file")
        if not isinstance(below, dict):
            return _leaf(said, name, image, form)
        form = form or (driver if isinstance(driver, str) else None)
        said = below
    raise _senseless(name, image, "no file is named in it")


def _leaf(said: dict[str, object], name: str, image: str, form: str | None) -> Place:
    """The innermost part: the file or server itself."""
    driver, filename = said.get("driver", "file"), said.get("filename")
    if driver in _LOCAL_DRIVERS and isinstance(filename, str) and filename:
        return Place(path=_absolute(filename, image), format=form)
    if isinstance(driver, str) and driver in REMOTE:
        return Place(remote=name, format=form)
    raise _senseless(name, image, "no file is named in it")


def _unfolded(said: dict[str, object]) -> dict[str, object]:
    """QEMU's short form "file.driver" as members of "file"."""
    flat = {key: value for key, value in said.items() if not key.startswith("file.")}
    inner = {
        key.removeprefix("file."): value for key, value in said.items() if key.startswith("file.")
    }
    if inner and "file" not in flat:
        flat["file"] = inner
    return flat


def _senseless(name: str, image: str, why: str) -> ConfError:
    detail = f"the backing file of image '{image}' cannot be found by '{name[:200]}': {why}"
    return ConfError("internal", detail)
