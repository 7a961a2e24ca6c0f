"""Worker: answers domd's requests about one domain's guest, for every driver.

Owns: the guest, and the worker's phase. May touch: the guest, through its driver's operations.
May not touch: definitions, other guests.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Final, Generic, TypeVar

from conf.errors import ConfError
from ipc import Ack, handles
from rpc.enums import DomainShutoffReason
from rpc.errors import VirError
from supervisor.dispatch.errors import from_conf_error, from_os_error
from supervisor.messages.worker import (
    AttachDevice,
    Destroy,
    DetachDevice,
    DomainStatus,
    GetStats,
    GetStatus,
    IncomingMigration,
    LoadSnapshot,
    Reboot,
    RestoreImage,
    Resume,
    SetMetadata,
    Shutdown,
    ShutoffInfo,
    Start,
    StartSource,
    Stats,
    Suspend,
    UpdateDevice,
    WorkerStatus,
)
from supervisor.objects.domain_phase import (
    BEGINNING,
    DomainPhase,
    PhaseTracker,
    PhaseTrigger,
    start_trigger,
)
from supervisor.objects.domain_status_xml import Status, remove_status
from supervisor.runtime.shield import run_to_completion
from supervisor.workers.audit.auditor import Auditor
from supervisor.workers.context import WorkerContext
from supervisor.workers.driver_ops import DriverOps
from supervisor.workers.running_guest import RunningGuest
from supervisor.workers.shutoff_reason import shutoff_reason, stopped_event
from supervisor.workers.unmanaged_guest import find_unmanaged

CLEANUP_S: Final = 15.0  # mostly the hook scripts of a guest that has ended

G = TypeVar("G", bound=RunningGuest)

log = logging.getLogger(__name__)


class Worker(Generic[G]):
    """The worker of one domain."""

    def __init__(self, context: WorkerContext, ops: DriverOps[G]) -> None:
        self._ops = ops
        self._context = context
        self._errors = context.driver.errors
        self._guest: G | None = None
        self._shutoff: ShutoffInfo | None = None  # how the last guest ended
        self._phases = PhaseTracker(context.process.domain)
        context.node.on_reply_lost.append(self._publish_unreported)

    # The guest.

    @property
    def name(self) -> str:
        """The domain's name."""
        return self._context.process.domain

    @property
    def phase(self) -> DomainPhase:
        """What the worker does with the domain."""
        return self._phases.phase

    def attach_guest(self, guest: G) -> None:
        """Drive a guest: one that was just started, or one that a predecessor started."""
        if not self._phases.step(PhaseTrigger.STARTED):
            self._phases.step(PhaseTrigger.FOUND)
            self._phases.step(PhaseTrigger.CONFIRMED)
        self._guest = guest
        guest.auditor.follow()
        guest.process.on_exit.append(lambda: self._on_exit(guest))
        if guest.process.exited:  # it may have ended before the callback was registered
            self._on_exit(guest)

    def _publish_unreported(self) -> None:
        """Publish the guest's status: a change has ended after the domd that asked for it.

        Its successor may have asked for the status before, and no reply tells it of the change.
        """
        if self._guest is not None:
            self._guest.publish_status(with_xml=True)

    def set_stopped(self, status: Status) -> None:
        """Record how a predecessor's guest ended that was gone when this worker came up."""
        reason, detail = shutoff_reason(status)
        self._shutoff = ShutoffInfo(
            reason=reason,
            detail=detail,
            restart=status.restart,
            disk_changes=list(status.disk_changes),
        )
        remove_status(self._context.paths.status(status.name))

    def guest(self) -> G:
        """Return the running guest.

        Raises:
            VirError: OPERATION_INVALID: there is none.
        """
        if self._guest is None:
            raise self._errors.operation_invalid(
                f"domain is not running: '{self.name}' has no guest"
            )
        return self._guest

    async def wait_running(self) -> G:
        """Wait until no start or reboot is under way, and return the running guest.

        Raises:
            VirError: OPERATION_INVALID: there is none.
        """
        await self._phases.wait_not_in(BEGINNING)
        return self.guest()

    def close(self) -> None:
        """Release the guest, which runs on."""
        if self._guest is not None:
            self._guest.close()

    # Requests.

    @handles(Start)
    async def start(self, request: Start) -> DomainStatus:
        """Start the guest."""
        if not isinstance(request.source, self._ops.sources):
            raise self._unsupported_source(request.source)
        unmanaged = find_unmanaged(self._context.paths.status(self.name), self.name)
        if unmanaged:
            if isinstance(request.source, RestoreImage):
                request.source.image.close()
            raise self._errors.operation_failed(f"'{self.name}' cannot be started: {unmanaged}")
        if not self._phases.step(start_trigger(request.source)):
            raise self._errors.operation_invalid(f"domain is already running: '{self.name}'")
        try:
            guest = await self._ops.launch(self._context, request)
        except BaseException as error:
            self._phases.step(PhaseTrigger.START_FAILED)
            Auditor(self._context.audit).not_started(request.xml, request.source)
            if isinstance(error, ConfError):
                raise from_conf_error(error, self._errors.domain) from error
            if isinstance(error, OSError):  # a full disk, mostly; a TimeoutError has no number
                raise from_os_error(error, self._errors.domain) from error
            raise
        guest.auditor.started(guest.domain, guest.status.pid, request.source)
        self.attach_guest(guest)
        return guest.get_status()

    def _unsupported_source(self, source: StartSource) -> VirError:
        if isinstance(source, RestoreImage):
            source.image.close()
        name = {
            RestoreImage: "restoring a domain",
            IncomingMigration: "an incoming migration",
            LoadSnapshot: "a start from a snapshot",
        }
        detail = f"{name[type(source)]} is not implemented by the {self._context.driver.name}"
        return self._errors.operation_unsupported(f"{detail} driver of this daemon")

    @handles(GetStatus)
    async def get_status(self, _: GetStatus) -> WorkerStatus:
        """Return the guest's status, or how it ended; a start under way is waited for."""
        await self._phases.wait_not_in(BEGINNING)
        guest = self._guest
        return WorkerStatus(guest=guest.get_status() if guest else None, shutoff=self._shutoff)

    @handles(Destroy)
    async def destroy(self, request: Destroy) -> Ack:
        """End the guest; it is cleaned up before the reply."""
        guest = await self.wait_running()
        reason = DomainShutoffReason(request.reason)
        await self._ops.end(guest, reason, graceful=request.graceful)
        async with asyncio.timeout(CLEANUP_S):
            await guest.ended.wait()
        return Ack()

    @handles(SetMetadata)
    def set_metadata(self, request: SetMetadata) -> DomainStatus:
        """Change the title, description or metadata of the live XML."""
        guest = self.guest()
        setattr(guest.domain, request.field, request.text)
        guest.update_xml({request.field})
        return guest.get_status()

    @handles(AttachDevice)
    async def attach_device(self, request: AttachDevice) -> DomainStatus:
        """Attach a device to the guest."""
        guest = await self.wait_running()
        try:
            return await self._change_device(self._ops.attach(guest, request))
        except BaseException:
            uuid = guest.status.uuid
            guest.auditor.not_attached(guest.name, uuid, guest.live_xml, request.xml)
            raise

    @handles(DetachDevice)
    async def detach_device(self, request: DetachDevice) -> DomainStatus:
        """Detach a device from the guest."""
        guest = await self.wait_running()
        try:
            # Without the device lock: a guest may take seconds to release a device, or never do.
            await self._ops.detach(guest, request)
        except ConfError as error:
            raise from_conf_error(error, self._errors.domain) from error
        return guest.get_status()

    @handles(UpdateDevice)
    async def update_device(self, request: UpdateDevice) -> DomainStatus:
        """Update a device of the guest."""
        return await self._change_device(self._ops.update(await self.wait_running(), request))

    @handles(Shutdown)
    async def shutdown(self, request: Shutdown) -> Ack:
        """Have the guest power off, a container's init terminate."""
        await self._ops.shutdown(await self.wait_running(), request.flags)
        return Ack()

    @handles(Reboot)
    async def reboot(self, request: Reboot) -> Ack:
        """Have the guest, or a container's init, reboot."""
        await self._ops.reboot(await self.wait_running(), request.flags)
        return Ack()

    @handles(Suspend)
    async def suspend(self, _: Suspend) -> Ack:
        """Stop the guest's vCPUs, or freeze the container."""
        await self._ops.suspend(await self.wait_running())
        return Ack()

    @handles(Resume)
    async def resume(self, _: Resume) -> Ack:
        """Start the guest's vCPUs, or thaw the container."""
        await self._ops.resume(await self.wait_running())
        return Ack()

    @handles(GetStats)
    async def get_stats(self, request: GetStats) -> Stats:
        """Return the guest's statistics."""
        return Stats(statistics=await self._ops.get_stats(self.guest(), request.groups))

    async def _change_device(self, work: Coroutine[None, None, None]) -> DomainStatus:
        guest = self.guest()
        async with guest.device_lock:
            try:
                # To its end, even if the caller disconnects: half a hotplug leaves a device that
                # QEMU has and the live XML does not name.
                await run_to_completion(work)
            except ConfError as error:
                raise from_conf_error(error, self._errors.domain) from error
        return guest.get_status()

    # The guest's end.

    def _on_exit(self, guest: G) -> None:
        guest.run(self._finish(guest))

    async def _finish(self, guest: G) -> None:
        """Clean up after a guest whose process has exited, and report its end."""
        if self._guest is not guest:
            return
        self._phases.step(PhaseTrigger.STOP)
        await self._ops.clean_up(self._context, guest.status, guest.live_xml)
        reason, detail = shutoff_reason(guest.status)
        log.info("%s has ended: %s", guest.name, reason.name.lower())
        guest.auditor.stopped(guest.name, guest.status.uuid, guest.live_xml, reason)
        self._guest = None
        changes = list(guest.status.disk_changes)
        self._shutoff = ShutoffInfo(reason=reason, detail=detail, disk_changes=changes)
        self._phases.step(PhaseTrigger.STOPPED)
        self._context.publish(stopped_event(guest.status, guest.uuid))
        # A domd that missed the event asks this worker, which stays until domd ends it.
        remove_status(self._context.paths.status(guest.name))
        guest.ended.set()
        guest.close()
