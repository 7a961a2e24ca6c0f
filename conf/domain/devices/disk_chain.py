"""The images of a disk as a list, from the top of its backing chain down, and edits of that list.

Owns: taking a <disk> apart into its images and putting it together again; what makes two sources
the same place. Pure. May not touch: image files, QEMU's nodes.
Source: libvirt 9.0, virStorageSourceIsSameLocation for the same place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from conf.domain.devices.backing_store import BackingFormat, BackingStore, CacheSize
from conf.domain.devices.disk import Disk, DiskDriver, is_empty
from conf.domain.devices.source import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One image of a chain."""

    type: str  # as the XML has it: "volume" also where its path has been found
    source: Source
    format: str
    index: int | None = None  # of its block nodes, in a running guest
    cache: CacheSize | None = None

    @property
    def location(self) -> str:
        """What tells its place from others'."""
        return location(self.type, self.source)

    @property
    def path(self) -> str | None:
        """The path of a local file or device; None for other sources."""
        return local_path(self.source)


def local_path(source: Source) -> str | None:
    """Return the path of a local file or device, also of a volume that was looked up."""
    if source.place:
        return source.place
    return source.file if source.type == "file" else source.dev if source.type == "block" else None


def source_name(source: Source) -> str:
    """Return what a source is called in messages: its path, or its name on a server."""
    return local_path(source) or source.dir or source.name or ""


def location(type_: str, source: Source) -> str:
    """Return a text that two sources share exactly when they are the same place."""
    match type_:
        case "file":
            return f"file:{source.file}"
        case "block":
            return f"block:{source.dev}"
        case "volume":
            return f"volume:{source.pool}/{source.volume}"
        case "nvme":
            return f"nvme:{source.pci}:{source.namespace}"
        case "network":
            hosts = ",".join(
                f"{host.transport or 'tcp'}:{host.socket or host.name}:{host.port or ''}"
                for host in source.hosts
            )
            snapshot = f"@{source.snapshot}" if source.snapshot else ""
            return f"{source.protocol}:{hosts}/{source.name}{snapshot}"
    return f"{type_}:{source.dir or source.path}"


def layers(disk: Disk) -> list[Layer]:
    """List a disk's images from the top down; none in an empty drive."""
    top = top_layer(disk)
    if top is None:
        return []
    found = [top]
    store = disk.backing_store
    while store is not None and store.type is not None and store.source is not None:
        layer_format = store.format or BackingFormat()
        found.append(
            Layer(
                type=store.type,
                source=store.source,
                format=layer_format.type,
                index=store.index,
                cache=layer_format.metadata_cache,
            )
        )
        store = store.backing_store
    return found


def top_layer(disk: Disk) -> Layer | None:
    """Return the image that the guest writes to; None in an empty drive."""
    if disk.source is None or is_empty(disk.source):
        return None
    driver = disk.driver
    return Layer(
        type=disk.type,
        source=_with_own_secrets(disk),
        format=(driver.type if driver else None) or "raw",
        index=disk.source.index,
        cache=driver.metadata_cache if driver else None,
    )


def _with_own_secrets(disk: Disk) -> Source:
    """Return the top <source> with the <auth> and <encryption> that older XML has beside it."""
    assert disk.source is not None, "an empty drive has no layers"
    if disk.auth is None and disk.encryption is None:
        return disk.source
    return replace(
        disk.source,
        auth=disk.source.auth or disk.auth,
        encryption=disk.source.encryption or disk.encryption,
        type=disk.source.type,
        place=disk.source.place,
    )


def set_layers(disk: Disk, chain: Sequence[Layer], *, terminated: bool) -> None:
    """Give a disk another chain.

    Args:
        disk: changed in place.
        chain: from the top down; at least one image.
        terminated: nothing is below the last image, and the XML says so (<backingStore/>).
    """
    top, *below = chain
    _set_top(disk, top)
    store = BackingStore() if terminated else None
    for layer in reversed(below):
        store = _store_of(layer, store)
    disk.backing_store = store


def _set_top(disk: Disk, top: Layer) -> None:
    if top.location != location(disk.type, disk.source or Source()):
        disk.auth = disk.encryption = None  # those were the old top's, and are in its layer
    disk.type = top.type
    disk.source = replace(top.source, index=top.index, type=top.source.type, place=top.source.place)
    driver = disk.driver or DiskDriver(name="qemu")
    disk.driver = replace(driver, type=top.format, metadata_cache=top.cache)


def _store_of(layer: Layer, below: BackingStore | None) -> BackingStore:
    source = replace(layer.source, index=None, type=layer.source.type, place=layer.source.place)
    return BackingStore(
        type=layer.type,
        index=layer.index,
        format=BackingFormat(type=layer.format, metadata_cache=layer.cache),
        source=source,
        backing_store=below,
    )


def push_overlay(disk: Disk, overlay: Layer) -> None:
    """Put a new image on top of a disk's chain, which ends as before; its elements are kept."""
    top = top_layer(disk)
    if top is not None:
        disk.backing_store = _store_of(top, disk.backing_store)
    _set_top(disk, overlay)


def take_chain(disk: Disk, other: Disk) -> None:
    """Give a disk the chain of another one, which shares it from now on."""
    disk.type, disk.source, disk.driver = other.type, other.source, other.driver
    disk.auth, disk.encryption = other.auth, other.encryption
    disk.backing_store = other.backing_store
