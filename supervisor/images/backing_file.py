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
class BackingReference:
    """Where an image is."""

    path: str = ""  # of a local one, absolute
    remote: str = ""  # of another: what the header says of it, in full
    format: str | None = None  # where the name itself says it


def parse_backing_name(name: str, image: str) -> BackingReference:
    """Find what a backing file's name stands for.

    Args:
        name: as the header has it.
        image: the path of the image with that header; relative names start at its folder.

    Raises:
        ConfError: "internal": the name makes no sense.
    """
    if name.startswith("json:"):
        return _parse_json(name, image)
    match = _PROTOCOL.match(name)
    if match is None or "/" in name[: match.start(2) if match[2] else match.end()]:
        return BackingReference(path=_absolute(name, image))
    protocol = match[1].lower()
    if protocol == "file":
        return BackingReference(path=_absolute(name[len("file:") :].removeprefix("//"), image))
    if protocol in REMOTE:
        return BackingReference(remote=name)
    if match[2]:
        raise _unusable(name, image, f"the protocol '{protocol}' is unknown")
    return BackingReference(path=_absolute(name, image))


def _absolute(path: str, image: str) -> str:
    """A path by itself; the one of a relative name is taken from the image's folder."""
    return os.path.normpath(os.path.join(os.path.dirname(image), path))


def _parse_json(name: str, image: str) -> BackingReference:
    try:
        node = json.loads(name.removeprefix("json:"))
    except (ValueError, RecursionError):
        raise _unusable(name, image, "it is no JSON") from None
    image_format: str | None = None
    for _ in range(MAX_NESTING):
        if not isinstance(node, dict):
            break
        node = _unflatten(node)
        driver, child = node.get("driver"), node.get("file")
        if not isinstance(child, dict):
            return _innermost(node, name, image, image_format)
        image_format = image_format or (driver if isinstance(driver, str) else None)
        node = child
    raise _unusable(name, image, "no file is named in it")


def _innermost(
    node: dict[str, object], name: str, image: str, image_format: str | None
) -> BackingReference:
    """The innermost part: the file or server itself."""
    driver, filename = node.get("driver", "file"), node.get("filename")
    if driver in _LOCAL_DRIVERS and isinstance(filename, str) and filename:
        return BackingReference(path=_absolute(filename, image), format=image_format)
    if isinstance(driver, str) and driver in REMOTE:
        return BackingReference(remote=name, format=image_format)
    raise _unusable(name, image, "no file is named in it")


def _unflatten(node: dict[str, object]) -> dict[str, object]:
    """QEMU's short form "file.driver" as members of "file"."""
    flat = {key: value for key, value in node.items() if not key.startswith("file.")}
    inner = {
        key.removeprefix("file."): value for key, value in node.items() if key.startswith("file.")
    }
    if inner and "file" not in flat:
        flat["file"] = inner
    return flat


def _unusable(name: str, image: str, why: str) -> ConfError:
    detail = f"the backing file of image '{image}' cannot be found by '{name[:200]}': {why}"
    return ConfError("internal", detail)
