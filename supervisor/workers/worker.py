"""What domd may ask of any guest's worker.

Owns: the one guest's coming and going. May touch: it, through its driver's modules.
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
from rpc.errors import ErrorCode, VirError
from supervisor.dispatch.errors import from_conf_error
from supervisor.messages.worker import (
    AttachDevice,
    Destroy,
    DetachDevice,
    DomainStatus,
    GetStats,
    GetStatus,
    Reboot,
    Resume,
    SetMetadata,
    Shutdown,
    ShutoffInfo,
    Start,
    Stats,
    Suspend,
    UpdateDevice,
    WorkerStatus,
)
from supervisor.objects.domain_status_xml import Status, remove_status
from supervisor.runtime.shield import run_to_completion
from supervisor.workers.context import WorkerContext
from supervisor.workers.driver_ops import DriverOps
from supervisor.workers.running_guest import RunningGuest
from supervisor.workers.shutoff_reason import shutoff_reason, stopped_event

ENDED_S: Final = 15.0  # for hooks of a guest that has gone

G = TypeVar("G", bound=RunningGuest)

log = logging.getLogger(__name__)


class Worker(Generic[G]):
    """One worker: it has a guest, had one, or is to have one."""

    def __init__(self, workplace: WorkerContext, ops: DriverOps[G]) -> None:
        """Have no guest yet; act in this manner."""
        self._ops = ops
        self._workplace = workplace
        self._guest: G | None = None
        self._shutoff: ShutoffInfo | None = None
        self._start_done = asyncio.Event()  # no start is on its way
        self._start_done.set()

    # Its guest.

    @property
    def name(self) -> str:
        """The domain's name."""
        return self._workplace.process.domain

    def attach_guest(self, guest: G) -> None:
        """Drive this guest."""
        self._guest = guest
        guest.process.on_exit.append(lambda: self._on_exit(guest))
        if guest.process.exited:
            self._on_exit(guest)

    def set_stopped(self, status: Status) -> None:
        """Know how a guest went that was gone before this worker came."""
        reason, detail = shutoff_reason(status)
        self._shutoff = ShutoffInfo(reason=reason, detail=detail, restart=status.restart)
        remove_status(self._workplace.paths.status(status.name))

    def guest(self) -> G:
        """The running guest.

        Raises:
            VirError: OPERATION_INVALID: there is none.
        """
        if self._guest is None:
            detail = f"domain is not running: '{self.name}' has no guest"
            raise VirError(ErrorCode.OPERATION_INVALID, detail, self._workplace.driver.error_domain)
        return self._guest

    async def wait_running(self) -> G:
        """The running guest, once nothing is on its way: a start, or a container's reboot.

        Raises:
            VirError: OPERATION_INVALID: there is none.
        """
        await self._start_done.wait()
        return self.guest()

    def close(self) -> None:
        """Let go of a guest that runs on."""
        if self._guest is not None:
            self._guest.close()

    # What domd asks.

    @handles(Start)
    async def start(self, request: Start) -> DomainStatus:
        """Launch the guest."""
        if self._guest is not None or not self._start_done.is_set():
            detail = f"domain is already running: '{self.name}'"
            raise VirError(ErrorCode.OPERATION_INVALID, detail, self._workplace.driver.error_domain)
        self._start_done.clear()
        try:
            guest = await self._ops.launch(self._workplace, request)
        except ConfError as error:
            raise from_conf_error(error, self._workplace.driver.error_domain) from error
        else:
            self.attach_guest(guest)
        finally:
            self._start_done.set()
        return guest.get_status()

    @handles(GetStatus)
    async def get_status(self, _: GetStatus) -> WorkerStatus:
        """Answer what there is; a start that is on its way ends first, or is undone."""
        await self._start_done.wait()
        guest = self._guest
        return WorkerStatus(guest=guest.get_status() if guest else None, shutoff=self._shutoff)

    @handles(Destroy)
    async def destroy(self, request: Destroy) -> Ack:
        """End the guest; on return all of it is cleaned up."""
        guest = await self.wait_running()
        await self._ops.end(guest, DomainShutoffReason.DESTROYED, graceful=request.graceful)
        async with asyncio.timeout(ENDED_S):
            await guest.ended.wait()
        return Ack()

    @handles(SetMetadata)
    def set_metadata(self, request: SetMetadata) -> DomainStatus:
        """Change what only the document says."""
        guest = self.guest()
        domain = guest.domain
        domain.title, domain.description = request.title, request.description
        domain.metadata = request.metadata
        guest.update_xml()
        return guest.get_status()

    @handles(AttachDevice)
    async def attach_device(self, request: AttachDevice) -> DomainStatus:
        """Give the guest a device."""
        return await self._change_device(self._ops.attach(await self.wait_running(), request.xml))

    @handles(DetachDevice)
    async def detach_device(self, request: DetachDevice) -> DomainStatus:
        """Take a device from the guest."""
        guest = await self.wait_running()
        try:
            await self._ops.detach(guest, request)
        except ConfError as error:
            raise from_conf_error(error, self._workplace.driver.error_domain) from error
        return guest.get_status()

    @handles(UpdateDevice)
    async def update_device(self, request: UpdateDevice) -> DomainStatus:
        """Change a device."""
        return await self._change_device(self._ops.update(await self.wait_running(), request))

    @handles(Shutdown)
    async def shutdown(self, request: Shutdown) -> Ack:
        """Ask the guest to power off, a container's init to end."""
        await self._ops.shutdown(await self.wait_running(), request.flags)
        return Ack()

    @handles(Reboot)
    async def reboot(self, request: Reboot) -> Ack:
        """Ask the guest to reboot, a container's init to begin anew."""
        await self._ops.reboot(await self.wait_running(), request.flags)
        return Ack()

    @handles(Suspend)
    async def suspend(self, _: Suspend) -> Ack:
        """Have the guest stand still."""
        await self._ops.suspend(await self.wait_running())
        return Ack()

    @handles(Resume)
    async def resume(self, _: Resume) -> Ack:
        """Let the guest run."""
        await self._ops.resume(await self.wait_running())
        return Ack()

    @handles(GetStats)
    async def get_stats(self, request: GetStats) -> Stats:
        """The guest's figures."""
        return Stats(statistics=await self._ops.get_stats(self.guest(), request.groups))

    async def _change_device(self, work: Coroutine[None, None, None]) -> DomainStatus:
        guest = self.guest()
        async with guest.device_lock:
            try:
                await run_to_completion(work)
            except ConfError as error:
                raise from_conf_error(error, self._workplace.driver.error_domain) from error
        return guest.get_status()

    def _on_exit(self, guest: G) -> None:
        guest.run(self._finish(guest))

    async def _finish(self, guest: G) -> None:
        """Its process has gone: clean up, tell, forget."""
        if self._guest is not guest:
            return
        await self._ops.clean_up(self._workplace, guest.status, guest.live_xml)
        reason, detail = shutoff_reason(guest.status)
        log.info("%s has ended: %s", guest.name, reason.name.lower())
        self._guest = None
        self._shutoff = ShutoffInfo(reason=reason, detail=detail)
        self._workplace.publish(stopped_event(guest.status, guest.uuid))
        remove_status(self._workplace.paths.status(guest.name))
        guest.ended.set()
        guest.close()
