"""qemu-img for domains that are off: snapshots in images, overlays.

Owns: the command lines, and undoing half of what was asked. May touch: images of domains that are
off, through qemu-img alone.
Source: libvirt 9.0, qemuDomainSnapshotForEachQcow2, qemuSnapshotCreateInactiveExternal.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from conf.domain.devices.disk import Disk
from conf.domain.devices.disk_chain import Layer, layers
from rpc.errors import ErrorCode, VirError
from supervisor.dispatch.service_errors import ServiceErrors
from supervisor.runtime.subprocesses import run

#: qemu-img copies metadata of the image, or (commit) its data.
IMAGE_S: Final = 110.0
COMMIT_S: Final = 3600.0

log = logging.getLogger(__name__)


def plan_overlay(overlay: Layer, below: Layer) -> list[str]:
    """Return the command that makes an overlay."""
    backing = (below.path or "").replace(",", ",,")
    options = f"backing_fmt={below.format},backing_file={backing}"
    return ["qemu-img", "create", "-q", "-f", overlay.format, "-o", options, overlay.path or ""]


def plan_snapshot(operation: str, name: str, layer: Layer) -> list[str]:
    """Return the command that makes (-c), applies (-a) or deletes (-d) a snapshot in an image."""
    return ["qemu-img", "snapshot", "-q", operation, name, layer.path or ""]


def plan_commit(layer: Layer, base: Layer) -> list[str]:
    """Return the command that merges an image into one below it; the image stays as it is."""
    arguments = ["-f", layer.format, "-d", "-b", base.path or "", layer.path or ""]
    return ["qemu-img", "commit", "-q", *arguments]


def plan_rebase(layer: Layer, below: Layer) -> list[str]:
    """Return the command that has an image's header name another image; no data is read."""
    backing = ["-F", below.format, "-b", below.path or ""]
    return ["qemu-img", "rebase", "-q", "-u", "-f", layer.format, *backing, layer.path or ""]


async def run_image(
    argv: Sequence[str], errors: ServiceErrors, *, deadline_s: float = IMAGE_S
) -> None:
    """Run qemu-img.

    Raises:
        VirError: INTERNAL_ERROR: it failed; OPERATION_TIMEOUT.
    """
    try:
        program = await run(argv, deadline_s=deadline_s)
    except TimeoutError as error:
        detail = f"qemu-img did not end in {deadline_s:.0f} s: {' '.join(argv)}"
        raise errors.operation_timeout(detail) from error
    except OSError as error:
        detail = "unable to find qemu-img"
        raise errors.error(ErrorCode.INTERNAL_ERROR, f"{detail}: {error.strerror}") from error
    if program.code:
        detail = f"internal command '{' '.join(argv)}' failed: {program.output_text}"
        raise errors.error(ErrorCode.INTERNAL_ERROR, detail)


async def for_each_image(
    operation: str,
    name: str,
    disks: Sequence[Disk],
    errors: ServiceErrors,
    *,
    try_all: bool,
) -> bool:
    """Make, apply or delete a snapshot in the image of each disk.

    Args:
        operation: -c, -a or -d of qemu-img.
        name: of the snapshot.
        disks: of the domain; CD-ROMs and floppies are left out.
        errors: of the driver.
        try_all: a disk that cannot have one, or where it fails, does not keep the others from it.

    Returns:
        Whether each disk took part.

    Raises:
        VirError: OPERATION_INVALID: a disk cannot have one; INTERNAL_ERROR: qemu-img failed. With
            -c those that were made are deleted again.
    """
    done: list[Layer] = []
    complete = True
    for disk in disks:
        chain = layers(disk)
        if disk.device != "disk" or not chain:
            continue
        try:
            if chain[0].format != "qcow2":
                detail = f"Disk device '{disk.target.dev}' does not support snapshotting"
                raise errors.operation_invalid(detail)
            await run_image(plan_snapshot(operation, name, chain[0]), errors)
        except VirError as error:
            if try_all:
                log.warning("snapshot %s: disk %s: %s", name, disk.target.dev, error)
                complete = False
                continue
            if operation == "-c":
                await _roll_back(name, done, errors)
            raise
        done.append(chain[0])
    return complete


async def _roll_back(name: str, done: Sequence[Layer], errors: ServiceErrors) -> None:
    for layer in done:
        try:
            await run_image(plan_snapshot("-d", name, layer), errors)
        except VirError as error:
            log.error("half a snapshot stays in %s: %s", layer.path, error)
