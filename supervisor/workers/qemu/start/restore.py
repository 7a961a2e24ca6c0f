"""Restore in the worker: load an image's memory into a new QEMU, then let its vCPUs run.

Owns: the order in which that becomes final. May touch: QEMU; the image of a managed save.
Source: libvirt 9.0, qemuSaveImageStartVM.

The image of a managed save is removed when the guest has run on from it: restored once more, its
memory would not fit its disks. The status file says so before, for a worker that finds the guest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.images.save_image import Compression
from supervisor.messages.worker import RestoreImage
from supervisor.objects.domain_status_xml import LoadedMemory
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.migration.file_stream import load_from_file
from supervisor.workers.qemu.migration.memory_files import remove_image
from supervisor.workers.state_table import (
    PAUSED_RESTORED,
    REVERTED,
    REVERTED_PAUSED,
    RUNNING_RESTORED,
    Trigger,
)


async def load(
    guest: Guest, source: RestoreImage, error_output: Callable[[], Awaitable[str]]
) -> None:
    """Load the memory; the vCPUs are stopped.

    Raises:
        VirError: OPERATION_FAILED: the image cannot be read; INTERNAL_ERROR with QEMU's output.
    """
    compression = Compression(source.compression)
    try:
        await load_from_file(guest, source.image.fileno(), compression, direct=source.bypass_cache)
    except VirError as error:
        if not await guest.process.wait_exit(1.0):
            raise
        detail = f"qemu unexpectedly closed the monitor: {await error_output()}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail.strip(), ErrorDomain.QEMU) from error


def record_loaded(guest: Guest, source: RestoreImage, *, paused: bool) -> None:
    """Record that the guest has its memory; from now on it outlives this worker."""
    run = source.was_running and not paused
    guest.status.loaded = LoadedMemory(image=source.remove, run=run, reverts=source.reverts)
    paused_state = REVERTED_PAUSED if source.reverts else PAUSED_RESTORED
    guest.status.state, guest.status.reason = paused_state.state, paused_state.reason
    guest.save()


async def run_loaded(guest: Guest) -> None:
    """Let the guest go on, and remove the image; also after a worker that died before that.

    Raises:
        VirError: QEMU does not start the vCPUs; the image stays.
    """
    loaded = guest.status.loaded
    assert loaded is not None, "the caller has looked"
    if loaded.run:
        guest.resume_cause = Trigger.BOOTED  # so that RESUME is no event of its own
        await guest.monitor.execute("cont")
        running = REVERTED if loaded.reverts else RUNNING_RESTORED
        guest.status.state, guest.status.reason = running.state, running.reason
    await asyncio.to_thread(remove_image, loaded)
    guest.status.loaded = None
    guest.save()
