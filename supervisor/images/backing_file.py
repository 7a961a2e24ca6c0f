"""Names of backing files in image headers: a path, a URL, or QEMU's json: pseudo-protocol.

Owns: parsing such a name. Pure: no path is looked up.
May not touch: files. A guest may have written the name.
Source: QEMU's "Device URL Syntax" and its "json:" pseudo-protocol.
"""

from __future__ import annotations

import json
import os.path
import re
from dataclasses import dataclass
from typing import Final

from conf.errors import ConfError

#: QEMU's block drivers for protocols, besides files.
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
    """Location of a backing file."""

    path: str = ""  # absolute, of a local file
    remote: str = ""  # of a remote one: the full name in the header
    format: str | None = None  # if the json: name has it


def parse_backing_name(name: str, image: str) -> BackingReference:
    """Parse a backing file's name.

    Args:
        name: in the header.
        image: the path of that image; relative names are relative to its directory.

    Raises:
        ConfError: "internal": the name is invalid.
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
        raise _unusable(name, image, f"unknown protocol '{protocol}'")
    return BackingReference(path=_absolute(name, image))


def _absolute(path: str, image: str) -> str:
    """Make a path absolute, relative to the image's directory."""
    return os.path.normpath(os.path.join(os.path.dirname(image), path))


def _parse_json(name: str, image: str) -> BackingReference:
    try:
        node = json.loads(name.removeprefix("json:"))
    except (ValueError, RecursionError):
        raise _unusable(name, image, "invalid JSON") from None
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
    raise _unusable(name, image, "no file is named")


def _innermost(
    node: dict[str, object], name: str, image: str, image_format: str | None
) -> BackingReference:
    """Parse the innermost node: the file or server."""
    driver, filename = node.get("driver", "file"), node.get("filename")
    if driver in _LOCAL_DRIVERS and isinstance(filename, str) and filename:
        return BackingReference(path=_absolute(filename, image), format=image_format)
    if isinstance(driver, str) and driver in REMOTE:
        return BackingReference(remote=name, format=image_format)
    raise _unusable(name, image, "no file is named")


def _unflatten(node: dict[str, object]) -> dict[str, object]:
    """Expand QEMU's flattened keys: "file.driver" is a member of "file"."""
    flat = {key: value for key, value in node.items() if not key.startswith("file.")}
    inner = {
        key.removeprefix("file."): value for key, value in node.items() if key.startswith("file.")
    }
    if inner and "file" not in flat:
        flat["file"] = inner
    return flat


def _unusable(name: str, image: str, why: str) -> ConfError:
    detail = f"the backing file of image '{image}' has an invalid name '{name[:200]}': {why}"
    return ConfError("internal", detail)
