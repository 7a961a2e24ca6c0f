"""Begins copies of a disk: to a file, a device or a server, whole or of the top image alone.

Owns: the checks, the order: file, nodes, image, job; undoing it. May touch: QEMU, by QMP; the
copy's file.
Source: libvirt 9.0, qemuDomainBlockCopyCommon.
"""

from __future__ import annotations

import asyncio
import os
import stat
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Final

from conf.domain.devices.backing_store import BackingStore
from conf.domain.devices.disk import Disk, DiskDriver
from conf.domain.devices.disk_chain import Layer, layers
from conf.domain.devices.disk_defaults import complete_encryption
from conf.mapper import parse
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.images import read_image
from supervisor.images.files import read_image_file
from supervisor.images.new_qcow2 import Shape
from supervisor.messages.block import BlockCopy
from supervisor.objects.block_job import BlockJobKind, BlockJobRecord
from supervisor.workers.qemu.block import backing_chains
from supervisor.workers.qemu.block.block_jobs import find_job_disk
from supervisor.workers.qemu.block.disk_sources import resolve_volumes
from supervisor.workers.qemu.block.image_nodes import (
    NewImage,
    add_image,
    query_nodes,
    shape_of,
)
from supervisor.workers.qemu.block.job_begin import begin_job
from supervisor.workers.qemu.block.mirrors import add_backing_nodes, make_mirror
from supervisor.workers.qemu.block.new_files import create_file, remove_file
from supervisor.workers.qemu.block.node_facts import take_numbers
from supervisor.workers.qemu.block.nodes import layer_nodes, live_nodes
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.hotplug.file_owners import chown_files, give_back

CHAINED: Final = ("qcow", "qcow2", "qed", "vmdk", "cow")
PROBE_S: Final = 10.0


@dataclass(slots=True)
class Copy:
    """What is to be copied where."""

    disk: Disk
    target: Disk  # holds the source, the format and the chain of the copy
    shallow: bool
    exists: bool  # the image is there, and is not made


async def copy(guest: Guest, request: BlockCopy) -> None:
    """Begin a copy; the caller holds the device lock.

    Raises:
        ConfError, VirError: as the message says; nothing has changed.
    """
    plan = await _check(guest, request)
    found = await query_nodes(guest)
    images_of_copy = layers(plan.target)
    first = take_numbers(guest, found, len(images_of_copy))
    chain = [replace(layer, index=first + depth) for depth, layer in enumerate(images_of_copy)]
    guest.save()
    images = live_nodes(plan.disk)
    top = images.images[0]
    target = plan.disk.target.dev
    job = f"copy-{target}-{top.format_name}"
    async with AsyncExitStack() as undo:
        created = ""
        if not plan.exists and chain[0].type == "file" and chain[0].path:
            created = chain[0].path if create_file(chain[0].path) else ""
            if created:
                undo.callback(remove_file, created)
        for layer in chain:
            image = Disk(type=layer.type, source=layer.source)
            given = await chown_files(guest, image, writes=layer is chain[0])
            undo.push_async_callback(give_back, guest, given)
        shape = shape_of(found, top)
        late = await _add_nodes(guest, plan, request, chain, shape, undo)
        arguments: dict[str, object] = {
            "job-id": job,
            "device": images.top_name,
            "target": layer_nodes(chain[0], read_only=False).format_name,
            "replaces": top.format_name,
            "sync": "top" if plan.shallow else "full",
            "auto-finalize": True,
            "auto-dismiss": False,
        }
        options = {
            "speed": request.bandwidth,
            "granularity": request.granularity,
            "buf-size": request.buffer_size,
        }
        arguments |= {name: value for name, value in options.items() if value}
        if request.synchronous:
            arguments["copy-mode"] = "write-blocking"
        record = BlockJobRecord(
            id=job,
            kind=BlockJobKind.COPY,
            target=target,
            shallow=plan.shallow,
            late_chain=late,
            created=created,
        )
        plan.disk.mirror = make_mirror(chain, terminated=plan.target.chain_ends())
        await begin_job(guest, record, "blockdev-mirror", arguments)
        undo.pop_all()


async def _add_nodes(
    guest: Guest,
    plan: Copy,
    request: BlockCopy,
    chain: list[Layer],
    shape: Shape,
    undo: AsyncExitStack,
) -> bool:
    """Add the nodes of the copy's images; whether its chain is opened at the pivot only."""
    if request.reuse:
        # Who has made the image beforehand may still fill the images below it.
        await add_image(guest, plan.disk, chain[0], undo)
        return plan.shallow and len(chain) > 1
    backing = None
    if plan.shallow and len(chain) > 1:
        await add_backing_nodes(guest, plan.disk, chain[1:], undo)
        backing = layer_nodes(chain[1], read_only=True)
    elif plan.shallow:
        backing = live_nodes(plan.disk).images[1]
    new = None if plan.exists and chain[0].format == "raw" else NewImage(shape, backing)
    below = backing.format_name if backing is not None else None
    await add_image(guest, plan.disk, chain[0], undo, new=new, below=below)
    return False


async def _check(guest: Guest, request: BlockCopy) -> Copy:
    """Check a copy, and complete what is known of its image.

    Raises:
        ConfError, VirError: it cannot be made.
    """
    target = parse(Disk, request.destination)
    _check_absolute(target)
    complete_encryption(target.source.encryption if target.source else None)
    disk = await find_job_disk(guest, request.path)
    if request.refuse_persistent:
        raise _error(ErrorCode.OPERATION_INVALID, "domain is not transient")
    source_chain = layers(disk)
    if not source_chain:
        detail = f"disk '{disk.target.dev}' has no source to be copied"
        raise _error(ErrorCode.INTERNAL_ERROR, detail)
    plan = Copy(disk, target, request.shallow and len(source_chain) > 1, request.reuse)
    await resolve_volumes(guest.context.node.link("stord"), [target])
    _check_chain(plan)
    name = disk.target.dev
    target.driver = target.driver or DiskDriver()
    if plan.shallow and not request.reuse and target.driver.type == "raw":
        detail = f"shallow copy of disk '{name}' into a raw file is not possible"
        raise _error(ErrorCode.CONFIG_UNSUPPORTED, detail)
    path = _path(target)
    if path:
        plan.exists = _check_target(path, target.type, name, reuse=request.reuse)
    if not target.driver.type:
        probes = request.reuse
        target.driver.type = await _probe(path) if probes else source_chain[0].format
    if request.reuse and target.driver.type in CHAINED and target.backing_store is None:
        await backing_chains.complete_disks([target])
    elif target.backing_store is None and not plan.shallow:
        target.backing_store = BackingStore()
    return plan


def _check_absolute(target: Disk) -> None:
    source = target.source
    if source is None or not layers(target):
        raise _error(ErrorCode.NO_SOURCE, "missing source information for device")
    path = source.file if target.type == "file" else source.dev if target.type == "block" else "/"
    if not (path or "").startswith("/"):
        raise _error(ErrorCode.INVALID_ARG, "absolute path must be used as block copy target")


def _check_chain(plan: Copy) -> None:
    if len(layers(plan.target)) > 1 and not plan.shallow:
        detail = "backingStore of mirror without VIR_DOMAIN_BLOCK_COPY_SHALLOW doesn't make sense"
        raise _error(ErrorCode.INVALID_ARG, detail)
    if not plan.shallow and plan.target.backing_store is None:
        plan.target.backing_store = BackingStore()


def _path(target: Disk) -> str:
    return layers(target)[0].path or ""


def _check_target(path: str, type_: str, name: str, *, reuse: bool) -> bool:
    """Check a local file or device; whether it is there and is used as it is.

    Raises:
        VirError: SYSTEM_ERROR, CONFIG_UNSUPPORTED, INVALID_ARG.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError as error:
        if reuse or type_ == "block":
            detail = f"missing destination file for disk {name}: {path}: {error.strerror}"
            raise _error(ErrorCode.SYSTEM_ERROR, detail, error.errno) from error
        return False
    except OSError as error:
        detail = f"unable to verify existence of block copy target: {error.strerror}"
        raise _error(ErrorCode.SYSTEM_ERROR, detail, error.errno) from error
    if stat.S_ISBLK(status.st_mode):
        return True
    if status.st_size and not reuse:
        detail = (
            f"external destination file for disk {name} already exists and is not a block "
            f"device: {path}"
        )
        raise _error(ErrorCode.CONFIG_UNSUPPORTED, detail)
    if type_ == "block":
        detail = f"blockdev flag requested for disk {name}, but file '{path}' is not a block device"
        raise _error(ErrorCode.INVALID_ARG, detail)
    return reuse


async def _probe(path: str) -> str:
    """Return the format of an image that its maker has not named.

    Raises:
        VirError: CONFIG_UNSUPPORTED: it cannot be read here.
    """
    detail = "reused mirror destination format must be specified"
    if not path:
        raise _error(ErrorCode.CONFIG_UNSUPPORTED, detail)
    try:
        async with asyncio.timeout(PROBE_S):
            image = await asyncio.to_thread(read_image_file, path)
    except (OSError, TimeoutError) as error:
        raise _error(ErrorCode.CONFIG_UNSUPPORTED, detail) from error
    return read_image(image.head).format_name


def _error(code: ErrorCode, detail: str, number: int | None = None) -> VirError:
    return VirError(code, detail, ErrorDomain.QEMU, int1=number or -1)
