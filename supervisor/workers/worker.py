"""What domd may ask of any guest's worker.

Owns: the one guest's coming and going. May touch: it, through its driver's modules.
May not touch: definitions, other guests.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Final, Generic, TypeVar

from conf.errors import ConfError
from ipc import Done, handles
from rpc.enums import DomainShutoffReason
from rpc.errors import ErrorCode, VirError
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
    Start,
    UpdateDevice,
)
from supervisor.workers.ending import ended, verdict
from supervisor.workers.guest import RunningGuest
from supervisor.workers.status import Status, remove_status
from supervisor.workers.workplace import Workplace

ENDED_S: Final = 15.0  # for hooks of a guest that has gone

G = TypeVar("G", bound=RunningGuest)

log = logging.getLogger(__name__)


class GuestWorker(ABC, Generic[G]):
    """One worker: it has a guest, had one, or is to have one."""

    def __init__(self, workplace: Workplace) -> None:
        """Have no guest yet."""
        self._workplace = workplace
        self._guest: G | None = None
        self._gone: Gone | None = None
        self._settled = asyncio.Event()  # no start is on its way
        self._settled.set()

    # What each driver does in its own way.

    @abstractmethod
    async def launch(self, request: Start) -> G:
        """Start a guest; whatever fails, nothing is left of it."""

    @abstractmethod
    async def end(self, guest: G, reason: DomainShutoffReason, *, graceful: bool) -> None:
        """End the guest; what follows its end is begun by that."""

    @abstractmethod
    async def clean_up(self, status: Status, xml: str) -> None:
        """Remove what a guest leaves behind, except its status document."""

    @abstractmethod
    async def attach(self, guest: G, xml: str) -> None:
        """Give the guest a device."""

    @abstractmethod
    async def detach(self, guest: G, request: DetachDevice) -> None:
        """Take a device from the guest."""

    @abstractmethod
    async def update(self, guest: G, request: UpdateDevice) -> None:
        """Change a device."""

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
            guest = await self.launch(request)
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
        await self._settled.wait()
        guest = self.guest()
        await self.end(guest, DomainShutoffReason.DESTROYED, graceful=request.graceful)
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
        return await self._plug(self.attach(self.guest(), request.xml))

    @handles(DetachDevice)
    async def detach_device(self, request: DetachDevice) -> Description:
        """Take a device from the guest."""
        guest = self.guest()
        try:
            await self.detach(guest, request)
        except ConfError as problem:
            raise of_conf(problem, self._workplace.error_domain) from problem
        return guest.describe()

    @handles(UpdateDevice)
    async def update_device(self, request: UpdateDevice) -> Description:
        """Change a device."""
        return await self._plug(self.update(self.guest(), request))

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
        await self.clean_up(guest.status, guest.live_xml)
        reason, detail = verdict(guest.status)
        log.info("%s has ended: %s", guest.name, reason.name.lower())
        self._guest = None
        self._gone = Gone(reason=reason, detail=detail)
        self._workplace.publish(ended(guest.status, guest.uuid))
        remove_status(self._workplace.paths.status(guest.name))
        guest.ended.set()
        guest.close()
