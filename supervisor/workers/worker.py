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
from ipc import Done, handles
from rpc.enums import DomainShutoffReason
from rpc.errors import ErrorCode, VirError
from supervisor.dispatch.dispatcher import of_conf
from supervisor.messages.worker import (
    AttachDevice,
    Describe,
    Described,
    Description,
    Destroy,
    DetachDevice,
    Gone,
    Note,
    Reboot,
    Resume,
    Sample,
    Sampled,
    Shutdown,
    Start,
    Suspend,
    UpdateDevice,
)
from supervisor.objects.domain_status_xml import Status, remove_status
from supervisor.runtime.shield import finish
from supervisor.workers.context import Workplace
from supervisor.workers.driver_ops import Manner
from supervisor.workers.running_guest import RunningGuest
from supervisor.workers.shutoff_reason import ended, verdict

ENDED_S: Final = 15.0  # for hooks of a guest that has gone

G = TypeVar("G", bound=RunningGuest)

log = logging.getLogger(__name__)


class GuestWorker(Generic[G]):
    """One worker: it has a guest, had one, or is to have one."""

    def __init__(self, workplace: Workplace, manner: Manner[G]) -> None:
        """Have no guest yet; act in this manner."""
        self._manner = manner
        self._workplace = workplace
        self._guest: G | None = None
        self._gone: Gone | None = None
        self._settled = asyncio.Event()  # no start is on its way
        self._settled.set()

    # Its guest.

    @property
    def name(self) -> str:
        """The domain's name."""
        return self._workplace.process.domain

    def have(self, guest: G) -> None:
        """Drive this guest."""
        self._guest = guest
        guest.process.on_exit.append(lambda: self._ended(guest))
        if guest.process.exited:
            self._ended(guest)

    def had(self, status: Status) -> None:
        """Know how a guest went that was gone before this worker came."""
        reason, detail = verdict(status)
        self._gone = Gone(reason=reason, detail=detail, restart=status.restart)
        remove_status(self._workplace.paths.status(status.name))

    def guest(self) -> G:
        """The running guest.

        Raises:
            VirError: OPERATION_INVALID: there is none.
        """
        if self._guest is None:
            detail = f"domain is not running: '{self.name}' has no guest"
            raise VirError(ErrorCode.OPERATION_INVALID, detail, self._workplace.error_domain)
        return self._guest

    async def present(self) -> G:
        """The running guest, once nothing is on its way: a start, or a container's reboot.

        Raises:
            VirError: OPERATION_INVALID: there is none.
        """
        await self._settled.wait()
        return self.guest()

    def close(self) -> None:
        """Let go of a guest that runs on."""
        if self._guest is not None:
            self._guest.close()

    # What domd asks.

    @handles(Start)
    async def start(self, request: Start) -> Description:
        """Launch the guest."""
        if self._guest is not None or not self._settled.is_set():
            detail = f"domain is already running: '{self.name}'"
            raise VirError(ErrorCode.OPERATION_INVALID, detail, self._workplace.error_domain)
        self._settled.clear()
        try:
            guest = await self._manner.launch(self._workplace, request)
        except ConfError as problem:
            raise of_conf(problem, self._workplace.error_domain) from problem
        else:
            self.have(guest)
        finally:
            self._settled.set()
        return guest.describe()

    @handles(Describe)
    async def describe(self, _: Describe) -> Described:
        """Answer what there is; a start that is on its way ends first, or is undone."""
        await self._settled.wait()
        guest = self._guest
        return Described(guest=guest.describe() if guest else None, gone=self._gone)

    @handles(Destroy)
    async def destroy(self, request: Destroy) -> Done:
        """End the guest; on return all of it is cleaned up."""
        guest = await self.present()
        await self._manner.end(guest, DomainShutoffReason.DESTROYED, graceful=request.graceful)
        async with asyncio.timeout(ENDED_S):
            await guest.ended.wait()
        return Done()

    @handles(Note)
    def note(self, request: Note) -> Description:
        """Change what only the document says."""
        guest = self.guest()
        domain = guest.domain
        domain.title, domain.description = request.title, request.description
        domain.metadata = request.metadata
        guest.rewrite()
        return guest.describe()

    @handles(AttachDevice)
    async def attach_device(self, request: AttachDevice) -> Description:
        """Give the guest a device."""
        return await self._plug(self._manner.attach(await self.present(), request.xml))

    @handles(DetachDevice)
    async def detach_device(self, request: DetachDevice) -> Description:
        """Take a device from the guest."""
        guest = await self.present()
        try:
            await self._manner.detach(guest, request)
        except ConfError as problem:
            raise of_conf(problem, self._workplace.error_domain) from problem
        return guest.describe()

    @handles(UpdateDevice)
    async def update_device(self, request: UpdateDevice) -> Description:
        """Change a device."""
        return await self._plug(self._manner.update(await self.present(), request))

    @handles(Shutdown)
    async def shutdown(self, request: Shutdown) -> Done:
        """Ask the guest to power off, a container's init to end."""
        await self._manner.shutdown(await self.present(), request.flags)
        return Done()

    @handles(Reboot)
    async def reboot(self, request: Reboot) -> Done:
        """Ask the guest to reboot, a container's init to begin anew."""
        await self._manner.reboot(await self.present(), request.flags)
        return Done()

    @handles(Suspend)
    async def suspend(self, _: Suspend) -> Done:
        """Have the guest stand still."""
        await self._manner.suspend(await self.present())
        return Done()

    @handles(Resume)
    async def resume(self, _: Resume) -> Done:
        """Let the guest run."""
        await self._manner.resume(await self.present())
        return Done()

    @handles(Sample)
    async def sample(self, request: Sample) -> Sampled:
        """The guest's figures."""
        return Sampled(statistics=await self._manner.sample(self.guest(), request.groups))

    async def _plug(self, work: Coroutine[None, None, None]) -> Description:
        guest = self.guest()
        async with guest.plugging:
            try:
                await finish(work)
            except ConfError as problem:
                raise of_conf(problem, self._workplace.error_domain) from problem
        return guest.describe()

    def _ended(self, guest: G) -> None:
        guest.run(self._finish(guest))

    async def _finish(self, guest: G) -> None:
        """Its process has gone: clean up, tell, forget."""
        if self._guest is not guest:
            return
        await self._manner.clean_up(self._workplace, guest.status, guest.live_xml)
        reason, detail = verdict(guest.status)
        log.info("%s has ended: %s", guest.name, reason.name.lower())
        self._guest = None
        self._gone = Gone(reason=reason, detail=detail)
        self._workplace.publish(ended(guest.status, guest.uuid))
        remove_status(self._workplace.paths.status(guest.name))
        guest.ended.set()
        guest.close()
