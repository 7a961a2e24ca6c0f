"""Finds an image in a disk's chain as clients name it: a path, a name in a header, or `vda[2]`.

Owns: that lookup, and names relative to another image. Pure.
Source: libvirt 9.0, virStorageSourceChainLookup, virStorageSourceGetRelativeBackingPath.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterable, Sequence
from typing import Final

from conf.domain.devices.disk_chain import Layer, source_name
from rpc.errors import ErrorCode, ErrorDomain, VirError

INDEXED: Final = re.compile(r"([^\[\]]+)\[(\d+)\]")


def find_image(
    chain: Sequence[Layer],
    name: str | None,
    target: str,
    *,
    beneath: int | None = None,
    header_names: Sequence[str | None] = (),
) -> int:
    """Return the place of an image in a chain.

    Args:
        chain: from the top down.
        name: as the client has it; None: the deepest image.
        target: of the disk.
        beneath: the place above which it is not looked for; None: everywhere.
        header_names: for each image, how the header of the image above names it.

    Raises:
        VirError: INVALID_ARG.
    """
    index = 0
    if name is not None and (match := INDEXED.fullmatch(name)):
        if match[1] != target:
            detail = f"requested target '{match[1]}' does not match target '{target}'"
            raise _invalid(detail)
        index = int(match[2])
    places = range(0 if beneath is None else beneath + 1, len(chain))
    found: Iterable[int]
    if name is None:
        found = reversed(places)
    elif index:
        found = (place for place in places if chain[place].index == index)
    else:
        found = (place for place in places if _is_named(chain, place, name, header_names))
    first = next(iter(found), None)
    if first is None:
        raise _not_found(chain, target, name, index, beneath)
    return first


def _not_found(
    chain: Sequence[Layer], target: str, name: str | None, index: int, beneath: int | None
) -> VirError:
    if name is None:
        return _invalid(f"could not find base image in chain for '{target}'")
    if index:
        return _invalid(f"could not find backing store index '{index}' in chain for '{target}'")
    if beneath is not None:
        above = _name(chain[beneath])
        return _invalid(f"could not find image '{name}' beneath '{above}' in chain for '{target}'")
    return _invalid(f"could not find image '{name}' in chain for '{target}'")


def no_source_to_commit(target: str, base: str | None, *, shallow: bool) -> VirError:
    """Return what a commit is refused with on a disk without a source.

    As in libvirt, only a commit into "the image below" gets past the look-up of its base.

    Args:
        target: of the disk.
        base: as the client names the image to merge into.
        shallow: the flag that takes the image below where no base is named.
    """
    if base is None and shallow:
        detail = f"disk {target} has no source file to be committed"
        return VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.QEMU)
    return _invalid(f"could not find base image in chain for '{target}': it has no source")


def _is_named(
    chain: Sequence[Layer], place: int, name: str, header_names: Sequence[str | None]
) -> bool:
    layer = chain[place]
    if name in (_name(layer), header_names[place] if place < len(header_names) else None):
        return bool(name)
    path = layer.path
    if path is None or not name or place == 0:
        return False
    above = chain[place - 1].path
    folder = os.path.dirname(above) if above is not None else "/"
    return os.path.normpath(os.path.join(folder, name)) == os.path.normpath(path)


def _name(layer: Layer) -> str:
    return source_name(layer.source)


def _invalid(detail: str) -> VirError:
    return VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.STORAGE)


def relative_name(header_names: Sequence[str | None], above: int, base: int) -> str | None:
    """Return the name of an image relative to the folder of one above it.

    Args:
        header_names: for each image of the chain, how the header of the image above names it.
        above: the place of the image whose header will have the name.
        base: the place of the image that is named.

    Returns:
        The name; None: a header on the way has an absolute name.
    """
    path = ""
    for place in range(above + 1, base + 1):
        name = header_names[place] if place < len(header_names) else None
        if name is None or name.startswith("/") or ":" in name.partition("/")[0]:
            return None
        path = os.path.join(os.path.dirname(path), name)
    return os.path.normpath(path)
