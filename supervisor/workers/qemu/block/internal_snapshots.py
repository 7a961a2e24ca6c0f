"""Snapshots inside the images of a running guest: its memory and its disks at one moment.

Owns: saving and deleting them; that the vCPUs run again afterwards. May touch: QEMU, by QMP.
Source: libvirt 9.0, qemuSnapshotCreateActiveInternal; QEMU 7.2, snapshot-save and snapshot-delete.

libvirt 9.0 uses the monitor's savevm, which keeps QEMU from answering as long as it lasts. The jobs
make the same snapshots, and QEMU answers meanwhile.
"""

from __future__ import annotations

import logging
from typing import Final

from conf.domain.devices.disk import Disk
from rpc.enums import DomainState
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers.qemu.block.job_commands import dismiss, query_jobs, run_job
from supervisor.workers.qemu.block.job_waits import CONCLUDED
from supervisor.workers.qemu.block.live_disks import check_no_job
from supervisor.workers.qemu.block.nodes import live_nodes
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.state_table import Trigger

SAVE: Final = "snapshot-save"
DELETE: Final = "snapshot-delete"
SAVE_S: Final = 1700.0  # the guest's memory to a slow disk
DELETE_S: Final = 280.0
STOP_S: Final = 20.0

log = logging.getLogger(__name__)


def snapshot_disks(disks: list[Disk]) -> list[str]:
    """List the nodes that an internal snapshot is made in: of every image that is written.

    Raises:
        VirError: CONFIG_UNSUPPORTED: there is none.
    """
    found = [
        nodes.images[0].format_name
        for disk in disks
        if not disk.readonly and (nodes := live_nodes(disk)).images and disk.target.bus != "sd"
    ]
    if not found:
        detail = "internal and full system snapshots require all disks to be selected for snapshot"
        raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.QEMU)
    return found


async def save_internal(guest: Guest, name: str) -> None:
    """Save memory and disks in the images; the caller holds the device lock.

    Raises:
        VirError: as `check_no_job`; OPERATION_FAILED: QEMU cannot; the guest goes on.
    """
    for disk in guest.domain.devices.disks:
        check_no_job(guest.status, disk)
    devices = snapshot_disks(guest.domain.devices.disks)
    was_running = guest.state is DomainState.RUNNING
    if was_running:
        guest.status.resume_after_job = SAVE
        guest.save()
        guest.stop_cause = Trigger.STOPPED_TO_SAVE
        await guest.monitor.execute("stop", timeout_s=STOP_S)
    try:
        arguments = {"job-id": SAVE, "tag": name, "vmstate": devices[0], "devices": devices}
        await run_job(guest, SAVE, SAVE, arguments, timeout_s=SAVE_S)
    except VirError as error:
        if error.code is ErrorCode.OPERATION_TIMEOUT:
            raise
        detail = f"Failed to take snapshot: {error}"
        raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.QEMU) from error
    finally:
        if was_running:
            await _resume(guest)


async def _resume(guest: Guest) -> None:
    guest.resume_cause = Trigger.RESUMED
    try:
        await guest.monitor.execute("cont", timeout_s=STOP_S)
    finally:
        guest.status.resume_after_job = ""
        guest.save()


async def resume_after_job(guest: Guest) -> None:
    """Let the vCPUs run that a previous worker had stopped for a job, once that has ended."""
    job = guest.status.resume_after_job
    if not job:
        return
    concluded = guest.job_waits.expect(job)
    found = (await query_jobs(guest)).get(job)
    if found is not None and found.status != CONCLUDED:
        await concluded.wait()
    guest.job_waits.forget(job)
    if found is not None:
        await dismiss(guest, job)
    log.info("%s: the vCPUs are started again after %s", guest.name, job)
    if guest.state is DomainState.PAUSED:
        await _resume(guest)


async def delete_internal(guest: Guest, name: str) -> None:
    """Delete a snapshot in the images; one that is not there is logged, as with libvirt."""
    devices = snapshot_disks(guest.domain.devices.disks)
    arguments = {"job-id": DELETE, "tag": name, "devices": devices}
    try:
        await run_job(guest, DELETE, DELETE, arguments, timeout_s=DELETE_S)
    except VirError as error:
        if error.code is ErrorCode.OPERATION_TIMEOUT:
            raise
        log.warning("%s: snapshot %s is not deleted: %s", guest.name, name, error)
