"""Adds and removes the block nodes of single images in a running QEMU.

Owns: the order of a new image's nodes; making the image in between. May touch: QEMU, by QMP;
hostd, for secrets. May not touch: the live XML; image files but through QEMU.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

import msgspec

from conf.domain.devices.disk import Disk
from conf.domain.devices.disk_chain import Layer
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.images.new_qcow2 import CLUSTER, Shape
from supervisor.workers.qemu.argv.disk import shared_node_options
from supervisor.workers.qemu.argv.launch_inputs import Context
from supervisor.workers.qemu.argv.storage import (
    backing_string,
    encryption_options,
    format_driver,
    format_node,
    protocol_nodes,
)
from supervisor.workers.qemu.block import disk_secrets
from supervisor.workers.qemu.block.bitmaps import Bitmap, NodeBitmaps
from supervisor.workers.qemu.block.job_commands import CREATE, run_job
from supervisor.workers.qemu.block.nodes import ImageNodes, layer_nodes
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.hotplug.attach import emulator_facts, launch_context
from supervisor.workers.qemu.hotplug.plan import HotplugPlan
from supervisor.workers.qemu.hotplug.qmp_steps import QmpStep, qmp_step
from supervisor.workers.qemu.interfaces import InterfaceFds

CREATE_S: Final = 60.0  # to make an image: on a slow server, its metadata
MOST_S: Final = 80.0  # to open images: below the deadlines of domd's requests
BENCHMARK_FAILED: Final = "Unable to get accurate CPU usage"
BENCHMARK_PAUSE_S: Final = 0.02  # longer than a tick
LUKS_PREFIX: Final = "-encryption-secret0"

log = logging.getLogger(__name__)


class FormatData(msgspec.Struct, frozen=True, rename="kebab"):
    """What QEMU says of an image of a format, as far as it is qcow2's."""

    extended_l2: bool = False


class FormatSpecific(msgspec.Struct, frozen=True, rename="kebab"):
    """That, with the format's name."""

    type: str = ""
    data: FormatData = FormatData()


class NodeImage(msgspec.Struct, frozen=True, rename="kebab"):
    """The "image" of a node."""

    virtual_size: int = 0
    cluster_size: int = CLUSTER
    format_specific: FormatSpecific = FormatSpecific()


class NamedNode(msgspec.Struct, frozen=True, rename="kebab"):
    """One node of `query-named-block-nodes`."""

    node_name: str = ""
    image: NodeImage = NodeImage()
    dirty_bitmaps: list[Bitmap] = []


@dataclass(frozen=True, slots=True)
class NewImage:
    """An image that QEMU is to make."""

    shape: Shape
    backing: ImageNodes | None = None  # what its header names


async def query_nodes(guest: Guest) -> dict[str, NamedNode]:
    """Return every block node by its name."""
    arguments = {"flat": True}
    listed = await guest.monitor.query("query-named-block-nodes", list[NamedNode], arguments)
    return {node.node_name: node for node in listed}


def bitmaps_of(found: Mapping[str, NamedNode]) -> NodeBitmaps:
    """Return the dirty bitmaps of each node by their names."""
    return {
        name: {bitmap.name: bitmap for bitmap in node.dirty_bitmaps} for name, node in found.items()
    }


async def plan_context(guest: Guest, disk: Disk, chain: Sequence[Layer]) -> Context:
    """Return what image nodes of a disk are planned from, with the secrets of a chain."""
    secrets = await disk_secrets.fetch(
        guest.context.node.link("hostd"), [layer.source for layer in chain]
    )
    plan = HotplugPlan(guest.domain, await emulator_facts(guest), "disk", disk, [])
    return launch_context(guest, plan, InterfaceFds(), secrets)


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """The nodes of an image that is to be added."""

    nodes: ImageNodes
    context: Context
    storage: tuple[QmpStep, ...]  # the file, device or server, after its secrets
    format: QmpStep

    @property
    def steps(self) -> tuple[QmpStep, ...]:
        """All of them, in order."""
        return (*self.storage, self.format)


async def plan_image(
    guest: Guest,
    disk: Disk,
    layer: Layer,
    *,
    below: str | None = None,
    writable: bool = True,
) -> PlannedImage:
    """Plan the nodes of an image; the arguments are those of `add_image`.

    Raises:
        ConfError: this QEMU cannot have such an image. VirError: a secret is missing.
    """
    context = await plan_context(guest, disk, [layer])
    nodes = layer_nodes(layer, read_only=not writable)
    options = shared_node_options(disk)
    storage = tuple(qmp_step(*option) for option in protocol_nodes(context, nodes, options))
    node = format_node(nodes, options, top=writable, below=below, ends=below is None)
    return PlannedImage(nodes, context, storage, qmp_step(*node))


async def add_image(
    guest: Guest,
    disk: Disk,
    layer: Layer,
    undo: AsyncExitStack,
    *,
    new: NewImage | None = None,
    below: str | None = None,
    writable: bool = True,
) -> ImageNodes:
    """Add the nodes of an image; what was added is removed by `undo`.

    Args:
        guest: the guest.
        disk: whose caching and discards the image gets.
        layer: the image, with the number of its nodes.
        undo: removes the nodes again.
        new: the image is made first; None: it is there.
        below: the node of the image below; None: none is opened.
        writable: the guest is to write to it.

    Raises:
        ConfError: this QEMU cannot have such an image. VirError: QEMU refuses.
    """
    planned = await plan_image(guest, disk, layer, below=below, writable=writable)
    await add_planned(guest, planned, undo, new=new)
    return planned.nodes


async def add_planned(
    guest: Guest, planned: PlannedImage, undo: AsyncExitStack, *, new: NewImage | None = None
) -> None:
    """Add the nodes of an image. Arguments and errors as `add_image`."""
    if new is None:
        await add_steps(guest, planned.steps, undo)
        return
    is_raw = new.backing is None and format_driver(planned.nodes) == "raw"
    if is_raw:
        await asyncio.to_thread(
            _grow, planned.nodes, new.shape.size
        )  # before QEMU asks for its size
    await add_steps(guest, planned.storage, undo)
    if not is_raw:
        await _make_image(guest, planned.context, planned.nodes, new)
    await add_steps(guest, [planned.format], undo)


async def _make_image(guest: Guest, context: Context, nodes: ImageNodes, new: NewImage) -> None:
    driver = format_driver(nodes)
    shape, storage = new.shape, nodes.storage_name
    options: dict[str, object] = {"driver": driver, "file": storage, "size": shape.size}
    if driver == "qcow2":
        options["cluster-size"] = shape.cluster
        if shape.extended_l2:
            options["extended-l2"] = True
    if new.backing is not None:
        options["backing-file"] = backing_string(context, new.backing)
        options["backing-fmt"] = format_driver(new.backing)
    options |= encryption_options(nodes)
    if "encrypt" in options:
        options["encrypt"] = {"key-secret": f"{nodes.format_name}{LUKS_PREFIX}", "format": "luks"}
    job = f"{CREATE}{nodes.format_name}"
    arguments = {"job-id": job, "options": options}
    until = time.monotonic() + CREATE_S
    while True:
        try:
            await run_job(guest, job, "blockdev-create", arguments, timeout_s=CREATE_S)
        except VirError as error:
            if BENCHMARK_FAILED not in str(error) or time.monotonic() > until:
                raise
            # QEMU derives LUKS' iterations from the processor time of a benchmark, and gives up
            # where the kernel has counted none: it counts by its tick on some hosts.
            await asyncio.sleep(BENCHMARK_PAUSE_S)
        else:
            return


def _grow(nodes: ImageNodes, size: int) -> None:
    """Give a new raw file its size; a device and an image on a server have theirs.

    Raises:
        VirError: SYSTEM_ERROR.
    """
    if nodes.source.type == "file" and nodes.source.file:
        try:
            os.truncate(nodes.source.file, size)
        except OSError as error:
            detail = f"cannot give '{nodes.source.file}' {size} bytes: {error.strerror}"
            raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.QEMU) from error


async def add_steps(guest: Guest, steps: Sequence[QmpStep], undo: AsyncExitStack) -> None:
    """Add objects and nodes in one round trip: one that needs a refused one is refused, too."""

    def done(place: int) -> None:
        undo.push_async_callback(_undo, guest, steps[place].undo, steps[place].undo_arguments)

    commands = [(step.command, step.arguments) for step in steps]
    timeout_s = min(sum(step.timeout_s for step in steps), MOST_S)
    await guest.monitor.execute_all(commands, done, timeout_s=timeout_s)


async def _undo(guest: Guest, command: str, arguments: dict[str, object]) -> None:
    try:
        await guest.monitor.execute(command, arguments)
    except VirError as error:
        log.warning("%s: %s %s failed: %s", guest.name, command, arguments, error)


async def remove_images(guest: Guest, chain: Sequence[Layer]) -> None:
    """Remove the nodes of images that no drive uses any more; errors are logged.

    Args:
        guest: the guest.
        chain: from the top down.
    """
    for layer in chain:
        nodes = layer_nodes(layer, read_only=True)
        for name in (nodes.format_name, nodes.storage_name):
            await _undo(guest, "blockdev-del", {"node-name": name})
        if layer.source.encryption is not None and layer.source.encryption.format == "luks":
            await _undo(guest, "object-del", {"id": f"{nodes.format_name}{LUKS_PREFIX}"})


def shape_of(found: dict[str, NamedNode], nodes: ImageNodes) -> Shape:
    """Return what a new image has of one that QEMU has.

    Raises:
        VirError: INTERNAL_ERROR: QEMU has no such node.
    """
    name = nodes.format_name
    node = found.get(name)
    if node is None or node.image.virtual_size <= 0:
        detail = f"failed to query size of image of block node '{name}'"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU)
    image = node.image
    if nodes.format != "qcow2":
        return Shape(image.virtual_size)
    extended = image.format_specific.type == "qcow2" and image.format_specific.data.extended_l2
    return Shape(image.virtual_size, image.cluster_size, extended)
