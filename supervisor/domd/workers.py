"""The processes that drive guests: having one spawned, asking it, letting it end.

Owns: the link between a domain and its worker.
May touch: workers over the bus; the root, to have them spawned and ended.
May not touch: what is known of guests.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final, TypeVar

from ipc import BusError, DeadlineExceeded, Event, Node, NoSuchService, PeerGone, Request
from rpc.errors import ErrorCode, VirError
from supervisor.domd.domain import DomainObject
from supervisor.domd.registry import not_running
from supervisor.drivers.driver import Driver
from supervisor.messages.root import EndWorker, ReplaceWorker, SpawnWorker
from supervisor.messages.worker import GetStatus, WorkerStatus

LOSSES: Final = 2  # of a worker that is asked what it has, before that fails

R = TypeVar("R")
E = TypeVar("E", bound=Event)

log = logging.getLogger(__name__)


class Workers:
    """The workers of one daemon's guests."""

    def __init__(self, node: Node, driver: Driver) -> None:
        """Reach them over this bus."""
        self.driver = driver
        self._node = node
        self._subscriptions: list[Callable[[str], None]] = []

    def subscribe(self, kind: type[E], handler: Callable[[E], None]) -> None:
        """Have every worker's events of a type handled."""
        self._subscriptions.append(lambda name: self._node.subscribe(name, kind, handler))

    async def spawn(self, entry: DomainObject) -> None:
        """Have a worker for the domain; one that is there already is it.

        Raises:
            VirError, BusError: it cannot be had.
        """
        request = SpawnWorker(driver=self.driver.name, domain=entry.name, uuid=entry.uuid_text)
        spawned = await self._node.control.call(request)
        for subscribe in self._subscriptions:
            subscribe(spawned.name)
        entry.worker = spawned.name

    async def replace(self, entry: DomainObject) -> WorkerStatus:
        """Have a fresh worker take the domain's guest over; what it found.

        Raises:
            VirError, BusError: it does not answer (yet).
        """
        await self._node.control.call(ReplaceWorker(name=entry.worker))
        return await self.get_status(entry)

    async def get_status(self, entry: DomainObject) -> WorkerStatus:
        """What a domain's worker has; one that is lost over that is followed by one who knows.

        Raises:
            VirError, BusError: it does not answer.
        """
        for _ in range(LOSSES):
            with contextlib.suppress(PeerGone):
                return await self.call(entry, GetStatus())
        return await self.call(entry, GetStatus())

    async def end(self, entry: DomainObject) -> None:
        """End a domain's worker for good; a new one may be spawned from now on."""
        name, entry.worker = entry.worker, ""
        if name:
            await self.end_named(name)

    async def end_named(self, name: str) -> None:
        """End a worker by its name on the bus."""
        self._node.unlink(name)
        try:
            await self._node.control.call(EndWorker(name=name))
        except BusError as error:
            log.warning("worker %s could not be ended: %s", name, error)

    async def call(
        self, entry: DomainObject, request: Request[R], deadline_s: float | None = None
    ) -> R:
        """Ask a domain's worker, whatever it has.

        Raises:
            BusError: it has no answer; VirError: it refuses.
        """
        return await self._node.link(entry.worker).call(request, deadline_s=deadline_s)

    async def call_running(self, entry: DomainObject, request: Request[R]) -> R:
        """Have a running guest's worker do something.

        Raises:
            VirError: OPERATION_INVALID when the guest does not run, or has ended meanwhile; the
                worker's refusal; OPERATION_TIMEOUT when it does not answer; OPERATION_FAILED when
                it died, for nobody knows how far it came.
        """
        if not entry.is_active:
            raise not_running(entry)
        try:
            return await self.call(entry, request)
        except DeadlineExceeded as error:
            detail = f"the guest '{entry.name}' did not obey in {request.deadline_s:.0f} s: {error}"
            raise entry.errors.operation_timeout(detail) from error
        except BusError as error:
            if not entry.is_active:
                raise not_running(entry) from error
            detail = (
                f"the process that drives '{entry.name}' was lost and comes back; the guest runs "
                f"on, see whether it has obeyed: {error}"
            )
            raise entry.errors.operation_failed(detail) from error

    async def call_until_done(self, entry: DomainObject, request: Request[R]) -> R | None:
        """Order what may be ordered twice, until a worker has done it.

        Returns:
            The answer, or None when the guest has ended meanwhile.

        Raises:
            VirError: as `call_running`.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + request.deadline_s
        lost = False
        while entry.is_active:
            left = end - loop.time()
            try:
                return await self.call(entry, request, left)
            except (PeerGone, NoSuchService) as error:
                # Without a process the root has not respawned it; recovery has it spawned.
                lost = True
                if not has_ended(entry):
                    log.info("%s is ordered again, its worker was lost: %s", entry.name, error)
            except VirError as error:
                if not lost or error.code is not ErrorCode.OPERATION_INVALID:
                    raise
                # The successor found no guest: it is about to be known that it has gone.
            except DeadlineExceeded as error:
                detail = (
                    f"the guest '{entry.name}' did not obey in {request.deadline_s:.0f} s: {error}"
                )
                raise entry.errors.operation_timeout(detail) from error
            await asyncio.sleep(min(0.02, max(0.0, left)))
        return None


def has_ended(entry: DomainObject) -> bool:
    """Whether a guest that ran when it was asked has ended meanwhile."""
    return not entry.is_active
