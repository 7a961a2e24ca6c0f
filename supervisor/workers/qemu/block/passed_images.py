"""Images that QEMU gets as open files: <source fdgroup=>, of virDomainFDAssociate.

Owns: which descriptors are which image's, and QEMU's sets of them. May touch: QEMU, by QMP.
May not touch: the paths in the XML, which need not exist.

QEMU chooses among a set's descriptors one that was opened as it would open the file, so a set may
have one for reading and one for writing. QEMU's copies are its own: a worker that dies takes none.
Source: libvirt 9.0, qemuDomainPrepareStorageSourceFDs; QEMU, add-fd.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Final

import msgspec

from conf.domain.devices.disk import Disk
from conf.domain.devices.source import Source
from ipc import Descriptor
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers.qemu.argv.launch_inputs import PassedImage
from supervisor.workers.qemu.block.nodes import DiskNodes, live_nodes
from supervisor.workers.qemu.guest import Guest

Groups = Mapping[str, Sequence[Descriptor]]

NO_GROUPS: Final[Groups] = {}

log = logging.getLogger(__name__)


class AddedFd(msgspec.Struct, frozen=True, rename="kebab"):
    """The reply to `add-fd`."""

    fdset_id: int


class FdsetFd(msgspec.Struct, frozen=True):
    """A descriptor of a set."""

    opaque: str = ""


class Fdset(msgspec.Struct, frozen=True, rename="kebab"):
    """One set of `query-fdsets`."""

    fdset_id: int
    fds: list[FdsetFd] = []


def require_groups(disks: Iterable[Disk], groups: Groups) -> None:
    """Refuse disks whose groups no client has associated; the last disk comes first, as libvirt's.

    Raises:
        VirError: INVALID_ARG naming the group.
    """
    for disk in reversed(list(disks)):
        for source in passed_sources(disk):
            if not groups.get(source.fdgroup or ""):
                raise missing_group(source.fdgroup or "")


def missing_group(name: str) -> VirError:
    """INVALID_ARG: no client has associated the group."""
    detail = f"file descriptor group '{name}' was not associated with the domain"
    return VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.QEMU)


def passed_sources(disk: Disk) -> list[Source]:
    """List those images of a disk that are open files, from the top of the chain down."""
    return [source for source, _, _ in disk.chain() if source.fdgroup is not None]


def open_paths(disks: Iterable[Disk], groups: Groups) -> dict[str, str]:
    """Map the path of each image to one by which this process can read the open file."""
    return {
        source.file or "": f"/proc/self/fd/{groups[source.fdgroup or ''][0].fileno()}"
        for disk in disks
        for source in passed_sources(disk)
    }


def inherited_images(numbered: Iterable[DiskNodes], groups: Groups) -> dict[str, PassedImage]:
    """List the images whose descriptors QEMU is to inherit, by protocol node."""
    return {
        image.storage_name: PassedImage(
            fds=tuple(each.fileno() for each in groups[image.source.fdgroup]),
            read_only=common_access(groups[image.source.fdgroup]),
        )
        for nodes in numbered
        for image in nodes.images
        if image.source.fdgroup is not None
    }


def common_access(descriptors: Sequence[Descriptor]) -> bool | None:
    """Return whether all descriptors are open for reading alone; None: they differ."""
    modes = {fcntl.fcntl(each.fileno(), fcntl.F_GETFL) & os.O_ACCMODE for each in descriptors}
    return modes == {os.O_RDONLY} if len(modes) == 1 else None


async def pass_images(
    guest: Guest, nodes: DiskNodes, groups: Groups, undo: AsyncExitStack
) -> dict[str, PassedImage]:
    """Pass a disk's open files to a running QEMU; the set of each image, by its protocol node.

    Raises:
        VirError: QEMU refuses.
    """
    sets: dict[str, PassedImage] = {}
    for image in nodes.images:
        if image.source.fdgroup is None:
            continue
        undo.push_async_callback(remove_images, guest, [image.storage_name])
        into: dict[str, object] = {}
        descriptors = groups[image.source.fdgroup]
        for number, descriptor in enumerate(descriptors):
            arguments = {**into, "opaque": f"{image.storage_name}{number}"}
            fd = descriptor.fileno()
            added = await guest.monitor.query("add-fd", AddedFd, arguments, fd=fd)
            into = {"fdset-id": added.fdset_id}
        access = common_access(descriptors)
        sets[image.storage_name] = PassedImage(fds=(added.fdset_id,), read_only=access)
    return sets


async def remove_disk(guest: Guest, disk: Disk) -> None:
    """Remove the sets of a disk that QEMU has closed."""
    if passed_sources(disk):
        await remove_images(guest, [image.storage_name for image in live_nodes(disk).images])


async def remove_images(guest: Guest, names: Sequence[str]) -> None:
    """Remove the sets of images that QEMU has closed, by their protocol nodes."""
    try:
        for fdset in await guest.monitor.query("query-fdsets", list[Fdset]):
            if any(fd.opaque.startswith(tuple(names)) for fd in fdset.fds):
                await guest.monitor.execute("remove-fd", {"fdset-id": fdset.fdset_id})
    except VirError as error:
        log.warning("%s: descriptors of images cannot be removed: %s", guest.name, error)


def close_groups(groups: Groups) -> None:
    """Close this process's copies, once QEMU has its own."""
    for descriptors in groups.values():
        for descriptor in descriptors:
            descriptor.close()
