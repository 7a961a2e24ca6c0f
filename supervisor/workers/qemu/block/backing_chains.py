"""Backing chains of a domain's disks: detected in the image headers, added to the live XML.

Owns: completing the chains. May touch: the images' first 33 KiB, to read.
May not touch: images' contents. A guest may have written a header: `supervisor.images` decides what
of it counts. Images may be on servers that hang, so they are read in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from conf.domain import Domain
from conf.domain.devices.backing_store import BackingFormat, BackingStore
from conf.domain.devices.disk import Disk, is_empty
from conf.domain.devices.source import Source
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.images import CHAINED, resolve_chain
from supervisor.images.chain import ChainLink
from supervisor.images.files import Image, read_image_file

NONE: Final[Mapping[str, str]] = {}
READ_S: Final = 15.0  # for all images of a guest
LOCAL: Final = {"file": "file", "block": "dev"}  # source type: the attribute with its path


Read = Callable[[str], Image]


async def complete_chains(domain: Domain, opened: Mapping[str, str] = NONE) -> None:
    """Complete the backing chain of every disk.

    Args:
        domain: with the disks.
        opened: by which path an image is read that is an open file (`passed_images`).

    Raises:
        ConfError: a chain loops, is damaged, or has a backing file without a format.
        VirError: SYSTEM_ERROR: a file is missing; OPERATION_TIMEOUT.
    """
    await complete_disks(domain.devices.disks, opened)


async def complete_disks(disks: Iterable[Disk], opened: Mapping[str, str] = NONE) -> None:
    """Complete the backing chains of some disks. Arguments and errors as `complete_chains`."""
    chosen = list(disks)

    def work() -> None:
        for disk in chosen:
            complete_disk(disk, lambda path: read_image_file(opened.get(path, path)))

    try:
        async with asyncio.timeout(READ_S):
            await asyncio.to_thread(work)
    except TimeoutError:
        names = ", ".join(f"'{path}'" for disk in chosen for path in local_paths(disk))
        detail = f"images {names} cannot be read within {READ_S:.0f} s; check their server"
        raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.STORAGE) from None


def local_paths(disk: Disk) -> list[str]:
    """List the local files and devices of a disk's chain."""
    return [path for source, _, _ in disk.chain() if (path := _local(source))]


def complete_disk(disk: Disk, read: Read) -> None:
    """Add the images below those that the XML names, and an empty element after the last.

    Raises:
        ConfError, VirError: as `complete_chains`.
    """
    if disk.source is None or disk.type == "vhostuser" or is_empty(disk.source):
        return
    _check_access(disk, read)
    if disk.chain_ends():
        return
    source, form, _ = disk.chain()[-1]
    path = _local(source)
    if form not in CHAINED:
        _append(disk, [BackingStore()])
    elif path:
        _append(disk, _backing_images(path, form, read))


def _backing_images(path: str, form: str, read: Read) -> list[BackingStore]:
    """Detect the images below one; an empty element is last, unless the chain leaves the host."""
    devices: set[str] = set()

    def open_image(name: str) -> Image:
        image = _open(name, path, read)
        if image.is_device:
            devices.add(name)
        return image

    layers = resolve_chain(path, form, open_image)
    stores = [
        _backing_store(layer, is_device=layer.path in devices) for layer in layers[1:] if layer.path
    ]
    return [*stores, BackingStore()] if layers[-1].path else stores  # remote ones are left to QEMU


def _check_access(disk: Disk, read: Read) -> None:
    """Check that the images can be read: QEMU's own error would not name the disk."""
    for path in local_paths(disk):
        try:
            read(path)
        except OSError as error:
            detail = f"Cannot access storage file '{path}': {error.strerror or error}"
            raise _system_error(detail, error) from error


def _open(path: str, top: str, read: Read) -> Image:
    try:
        return read(path)
    except OSError as error:
        why = error.strerror or str(error)
        detail = f"Cannot access backing file '{path}' of storage file '{top}': {why}"
        raise _system_error(detail, error) from error


def _system_error(detail: str, error: OSError) -> VirError:
    number = error.errno or -1
    return VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.STORAGE, int1=number)


def _backing_store(layer: ChainLink, *, is_device: bool) -> BackingStore:
    kind = "block" if is_device else "file"
    source = Source(type=kind)
    setattr(source, LOCAL[kind], layer.path)
    return BackingStore(type=kind, format=BackingFormat(type=layer.format), source=source)


def _append(disk: Disk, stores: list[BackingStore]) -> None:
    """Append images below the last one of the XML."""
    last: Disk | BackingStore = disk
    while last.backing_store is not None:
        last = last.backing_store
    for store in stores:
        last.backing_store = store
        last = store


def _local(source: Source) -> str | None:
    """Return the path of a local file or device; None for other sources."""
    attribute = LOCAL.get(source.type)
    path: str | None = getattr(source, attribute) if attribute else None
    return path
