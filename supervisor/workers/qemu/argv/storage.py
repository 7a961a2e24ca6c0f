"""Storage sources as -blockdev nodes.

Owns: the protocol node of every kind of source, the format node above it, and their secrets.
May touch: values only; nothing is opened, QEMU does that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from conf.domain.devices.source import Source
from conf.errors import ConfError
from supervisor.workers.qemu.argv.launch_inputs import Context, Options, PassedImage, Props, obj
from supervisor.workers.qemu.argv.network_storage import credentials, network_node
from supervisor.workers.qemu.argv.secrets import find_secret, secret_object
from supervisor.workers.qemu.argv.syntax import NULL, json_of
from supervisor.workers.qemu.block.nodes import DiskNodes, ImageNodes

DIRECT: Final = frozenset({"none", "directsync"})
FORMATS: Final = {"iso": "raw", "vpc": "vpc", "cow": "raw", "luks": "luks", "fat": "raw"}


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """Options of every node of a chain, from the disk's <driver> and the top image."""

    cache: str | None = None
    io: str | None = None
    discard: str | None = None
    detect_zeroes: str | None = None
    floppy: bool = False


def cache_modes(mode: str | None) -> Props:
    """Convert libvirt's cache mode to QEMU's two flags."""
    if mode in (None, "default"):
        return {}
    return {"cache": {"direct": mode in DIRECT, "no-flush": mode == "unsafe"}}


def image_nodes(context: Context, nodes: DiskNodes, options: NodeOptions) -> Options:
    """Build the nodes of a disk's images, from the bottom of the chain up.

    Args:
        context: the plan's inputs.
        nodes: their names.
        options: what holds for all of them.
    """
    below: str | None = None
    ends = nodes.terminated
    for number, layer in reversed(list(enumerate(nodes.images))):
        yield from protocol_nodes(context, layer, options)
        yield format_node(layer, options, top=number == 0, below=below, ends=ends)
        below = layer.format_name


def protocol_nodes(context: Context, layer: ImageNodes, options: NodeOptions) -> Options:
    """Build the node that reads an image's file, device or server, after its secrets."""
    yield from _secrets(context, layer)
    name = layer.storage_name
    if layer.source.fdgroup is not None:
        for number, fd in enumerate(open_image(context, layer).fds):
            yield "-add-fd", f"set={fd_set(context, layer)},fd={fd},opaque={name}{number}"
    yield "-blockdev", json_of(_protocol_node(context, layer, options))


def format_node(
    layer: ImageNodes, options: NodeOptions, *, top: bool, below: str | None, ends: bool
) -> tuple[str, str]:
    """Build the node of an image's format, above its protocol node.

    Args:
        layer: the image.
        options: what holds for all images of the disk.
        top: the guest's own reads and writes come here.
        below: the node of the image below.
        ends: without one below, none that the header names is opened either.
    """
    return "-blockdev", json_of(_format_node(layer, options, top=top, below=below, ends=ends))


def backing_string(context: Context, layer: ImageNodes) -> str:
    """Return how an image's header names the image below it: a path, or JSON for one on a server.

    Source: libvirt 9.0, qemuBlockGetBackingStoreString.
    """
    source = layer.source
    path = source.place or (source.file if source.type == "file" else source.dev)
    if source.type in ("file", "block") and path:
        return path
    node = network_node(context, source, layer.storage_name)
    present = {name: value for name, value in node.items() if value is not None}
    return f"json:{json_of({'driver': layer.format, 'file': present})}"


def encryption_options(layer: ImageNodes) -> Props:
    """Return the members of `blockdev-create` that encrypt an image; none without encryption."""
    encryption = layer.source.encryption
    if encryption is None or encryption.format != "luks":
        return {}
    secret = f"{layer.format_name}-encryption-secret0"
    if layer.format == "qcow2":
        return {"encrypt": {"format": "luks", "key-secret": secret}}
    return {"key-secret": secret}


def format_driver(layer: ImageNodes) -> str:
    """Return QEMU's driver of an image's format."""
    encryption = layer.source.encryption
    if encryption is not None and encryption.format == "luks" and layer.format == "raw":
        return "luks"
    return FORMATS.get(layer.format, layer.format)


def _protocol_node(context: Context, layer: ImageNodes, options: NodeOptions) -> Props:
    source = layer.source
    if source.type == "network":
        props = network_node(context, source, layer.storage_name)
    elif source.fdgroup is not None:
        path = f"/dev/fdset/{fd_set(context, layer)}"
        props = _local_node(replace(source, file=path, place=""), options)
    else:
        props = _local_node(source, options)
    if source.reservations is not None and source.reservations.enabled is not False:
        props["pr-manager"] = reservation_manager(layer)
    props["node-name"] = layer.storage_name
    access: Props = {"auto-read-only": True}
    if source.fdgroup is not None and (fixed := open_image(context, layer).read_only) is not None:
        access = {"read-only": fixed}
    return props | cache_modes(options.cache) | access | {"discard": "unmap"}


def open_image(context: Context, layer: ImageNodes) -> PassedImage:
    """Return the descriptors that an image is.

    Raises:
        ConfError: "invalid_arg": no client has associated any with the domain.
    """
    image = context.inputs.disk_fds.get(layer.storage_name)
    if image is None:
        name = layer.source.fdgroup
        detail = f"file descriptor group '{name}' was not associated with the domain"
        raise ConfError("invalid_arg", detail)
    return image


def fd_set(context: Context, layer: ImageNodes) -> int:
    """Return the number of the set of descriptors that an image is. Raises as `open_image`."""
    return open_image(context, layer).fds[0]


def _local_node(source: Source, options: NodeOptions) -> Props:
    aio = {"aio": options.io} if options.io else {}
    match source.type:
        case "file":
            return {"driver": "file", "filename": source.place or source.file, **aio}
        case "block" | "volume":
            return {"driver": "host_device", "filename": source.place or source.dev, **aio}
        case "dir":
            return {
                "driver": "vvfat",
                "dir": source.dir,
                "floppy": options.floppy or None,
                "rw": False,
            }
        case "nvme":
            return {"driver": "nvme", "device": source.pci, "namespace": source.namespace}
    raise ConfError("config_unsupported", f"disk source type '{source.type}' cannot be started")


def reservation_manager(layer: ImageNodes) -> str:
    """Name the pr-manager object through which SCSI reservations go."""
    reservations = layer.source.reservations
    managed = reservations is not None and reservations.managed
    return "pr-helper0" if managed else f"pr-helper-{layer.storage_name}"


def _secrets(context: Context, layer: ImageNodes) -> Options:
    """Build the objects that the nodes refer to."""
    reservations = layer.source.reservations
    if reservations is not None and reservations.enabled is not False and not reservations.managed:
        yield obj(
            {
                "qom-type": "pr-manager-helper",
                "id": reservation_manager(layer),
                "path": reservations.path,
            }
        )
    yield from credentials(context, layer.source, layer.storage_name)
    encryption = layer.source.encryption
    if encryption is not None and encryption.format == "luks":
        if not encryption.secrets:
            detail = "missing <secret> of the LUKS encryption of a disk"
            raise ConfError("internal", detail, "encryption/secret")
        secret = encryption.secrets[0]
        value = find_secret(context, "volume", uuid=secret.uuid, usage=secret.usage)
        yield secret_object(context, f"{layer.format_name}-encryption-secret0", value)


def _format_node(
    layer: ImageNodes, options: NodeOptions, *, top: bool, below: str | None, ends: bool
) -> Props:
    props: Props = {"node-name": layer.format_name, "read-only": layer.read_only}
    if top:
        discard = options.discard
        detect = options.detect_zeroes
        if detect == "unmap" and discard != "unmap":
            detect = "on"  # QEMU refuses to unmap where discards are ignored
        props |= {"discard": discard, "detect-zeroes": detect}
    props |= cache_modes(options.cache)
    props |= _format(layer)
    props["file"] = layer.storage_name
    if below is not None:
        props["backing"] = below
    elif ends and layer.format == "qcow2":
        props["backing"] = NULL
    return props


def _format(layer: ImageNodes) -> Props:
    """Build the members of the format node."""
    name = FORMATS.get(layer.format, layer.format)
    props: Props = {"driver": name}
    encryption = layer.source.encryption
    if encryption is not None and encryption.format == "luks":
        if not encryption.secrets:
            detail = "missing <secret> of the LUKS encryption of a disk"
            raise ConfError("internal", detail, "encryption/secret")
        secret = f"{layer.format_name}-encryption-secret0"
        if name == "qcow2":
            props["encrypt"] = {"format": "luks", "key-secret": secret}
        else:
            props = {"driver": "luks", "key-secret": secret}
    if name == "qcow2" and layer.metadata_cache is not None:
        props["cache-size"] = layer.metadata_cache
    slices = layer.source.slices
    if slices:
        raise ConfError("config_unsupported", "<slices> of a disk source cannot be acted on yet")
    return props
