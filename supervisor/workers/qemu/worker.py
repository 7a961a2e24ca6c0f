"""What domd may ask of a guest's worker.

Owns: the one guest. May touch: it, through the modules beside this one.
May not touch: definitions, other guests.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Final

from conf.errors import ConfError
from ipc import Done, handles
from rpc.enums import DomainShutoffReason
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.calls import of_conf
from supervisor.finishing import finish
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
    Reset,
    Resume,
    Sample,
    Sampled,
    Shutdown,
    Start,
    Suspend,
    UpdateDevice,
    Wakeup,
)
from supervisor.workers.ending import ended, verdict
from supervisor.workers.qemu import orders
from supervisor.workers.qemu.ending import clean_up, end
from supervisor.workers.qemu.events import take
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.hotplug.attaching import attach
from supervisor.workers.qemu.hotplug.detaching import detach
from supervisor.workers.qemu.hotplug.updating import update
from supervisor.workers.qemu.launching import launch
from supervisor.workers.qemu.sampling import sample
from supervisor.workers.status import Status, remove_status
from supervisor.workers.workplace import Workplace

ENDED_S: Final = 15.0  # for hooks of a guest that has gone

log = logging.getLogger(__name__)


class Worker:
    """One worker: it has a guest, had one, or is to have one."""

    def __init__(self, workplace: Workplace) -> None:
        """Have no guest yet."""
        self._workplace = workplace
        self._guest: Guest | None = None
        self._gone: Gone | None = None
        self._settled = asyncio.Event()  # no start is on its way
        self._settled.set()

    @property
    def name(self) -> str:
        """The domain's name."""
        return self._workplace.process.domain

    def have(self, guest: Guest) -> None:
        """Drive this guest."""
        self._guest = guest
        guest.take_events(lambda message: take(guest, message))
        guest.process.on_exit.append(lambda: self._ended(guest))
        if guest.process.exited:
            self._ended(guest)

    def had(self, status: Status) -> None:
        """Know how a guest went that was gone before this worker came."""
        reason, detail = verdict(status)
        self._gone = Gone(reason=reason, detail=detail, restart=status.restart)
        remove_status(self._workplace.paths.status(status.name))

    def guest(self) -> Guest:
        """The running guest.

        Raises:
            VirError: OPERATION_INVALID: there is none.
        """
        if self._guest is None:
            detail = f"domain is not running: '{self.name}' has no guest"
            raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.QEMU)
        return self._guest

    def close(self) -> None:
        """Let go of a guest that runs on."""
        if self._guest is not None:
            self._guest.close()

    @handles(Start)
    async def start(self, request: Start) -> Description:
        """Launch the guest."""
        if self._guest is not None or not self._settled.is_set():
            detail = f"domain is already running: '{self.name}'"
            raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.QEMU)
        self._settled.clear()
        try:
            guest = await launch(self._workplace, request)
        except ConfError as problem:
            raise of_conf(problem, ErrorDomain.QEMU) from problem
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
        guest = self.guest()
        await end(guest, DomainShutoffReason.DESTROYED, graceful=request.graceful)
        async with asyncio.timeout(ENDED_S):
            await guest.ended.wait()
        return Done()

    @handles(Shutdown)
    async def shutdown(self, request: Shutdown) -> Done:
        """Ask the guest to power off."""
        await orders.shutdown(self.guest(), request.flags)
        return Done()

    @handles(Reboot)
    async def reboot(self, request: Reboot) -> Done:
        """Ask the guest to reboot."""
        await orders.reboot(self.guest(), request.flags)
        return Done()

    @handles(Reset)
    async def reset(self, _: Reset) -> Done:
        """Reset the machine."""
        await orders.reset(self.guest())
        return Done()

    @handles(Suspend)
    async def suspend(self, _: Suspend) -> Done:
        """Stop the processors."""
        await orders.suspend(self.guest())
        return Done()

    @handles(Resume)
    async def resume(self, _: Resume) -> Done:
        """Let the processors run."""
        await orders.resume(self.guest())
        return Done()

    @handles(Wakeup)
    async def wakeup(self, _: Wakeup) -> Done:
        """Wake the guest."""
        await orders.wake_up(self.guest())
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
        return await self._plug(attach(self.guest(), request.xml))

    @handles(DetachDevice)
    async def detach_device(self, request: DetachDevice) -> Description:
        """Ask the guest to let a device go."""
        guest = self.guest()
        try:
            await detach(guest, xml=request.xml, alias=request.alias)
        except ConfError as problem:
            raise of_conf(problem, ErrorDomain.QEMU) from problem
        return guest.describe()

    @handles(UpdateDevice)
    async def update_device(self, request: UpdateDevice) -> Description:
        """Change a device."""
        return await self._plug(update(self.guest(), request.xml, force=request.force))

    async def _plug(self, work: Coroutine[None, None, None]) -> Description:
        guest = self.guest()
        async with guest.plugging:
            try:
                await finish(work)
            except ConfError as problem:
                raise of_conf(problem, ErrorDomain.QEMU) from problem
        return guest.describe()

    @handles(Sample)
    async def sample(self, request: Sample) -> Sampled:
        """The guest's figures."""
        return Sampled(statistics=await sample(self.guest(), request.groups))

    def _ended(self, guest: Guest) -> None:
        guest.run(self._finish(guest))

    async def _finish(self, guest: Guest) -> None:
        """The emulator has gone: clean up, tell, forget."""
        if self._guest is not guest:
            return
        reason, detail = verdict(guest.status)
        log.info("%s has ended: %s", guest.name, reason.name.lower())
        await clean_up(self._workplace, guest.status, guest.live_xml)
        self._guest = None
        self._gone = Gone(reason=reason, detail=detail)
        self._workplace.publish(ended(guest.status, guest.uuid))
        remove_status(self._workplace.paths.status(guest.name))
        guest.ended.set()
        guest.close()
