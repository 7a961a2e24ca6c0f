"""GuestLauncher: has the workers of domains start their guests, some at a time.

Owns: the order spawn, start, replace the worker; undoing a start that fails or is cancelled.
May touch: workers, through `supervisor.domd.workers`. May not touch: a domain's runtime state and
phase, which `supervisor.domd.running_domains` records.
"""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass
from typing import Final

from ipc import BusError, PeerGone
from rpc.enums import DomainShutoffReason
from rpc.errors import VirError
from supervisor.dispatch.events import Publisher
from supervisor.domd.domain import DomainObject
from supervisor.domd.workers import Workers
from supervisor.messages.worker import LONG_S, DomainStatus, RestoreImage, Start

#: Starts at a time (libvirt: max_workers, 20); others wait their turn. More are no faster on the
#: processors of any host, and a hundred at once starve each other beyond their deadlines.
MAX_LAUNCHES: Final = max(8, 4 * (os.cpu_count() or 1))

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LaunchedGuest:
    """What a start has come to."""

    status: DomainStatus
    is_confirmed: bool = True  # by the worker that drives the guest now


class GuestFoundError(Exception):
    """The domain's worker has a guest already: a start that a previous domd requested made it."""

    def __init__(self, status: DomainStatus) -> None:
        super().__init__(f"'{status.name}' runs with id {status.id}")
        self.status = status


class GuestLauncher:
    """Starts the guests of one driver."""

    def __init__(self, workers: Workers, publisher: Publisher) -> None:
        self._workers = workers
        self._publisher = publisher
        self._turns = asyncio.Semaphore(MAX_LAUNCHES)

    async def launch(self, domain: DomainObject, request: Start) -> LaunchedGuest:
        """Start a guest when it is its turn; one that fails or is cancelled is undone.

        Raises:
            GuestFoundError: the worker has a guest already.
            VirError: the worker's; OPERATION_FAILED: it died, and no guest is there.
        """
        async with self._turns:
            return await self._launch_now(domain, request)

    async def _launch_now(self, domain: DomainObject, request: Start) -> LaunchedGuest:
        """Spawn a worker and have it start the guest; if that fails, undo it and end the worker."""
        try:
            if await self._workers.spawn(domain):
                reported = await self._workers.get_status_after_start(domain.worker)
                if reported.guest is not None:
                    raise GuestFoundError(reported.guest)
            status = await self._request_start(domain, request)
            if self._workers.driver.replaces_worker_after_start:
                confirmed = await self._replace_worker(domain)
                return LaunchedGuest(confirmed or status, is_confirmed=confirmed is not None)
        except GuestFoundError:  # nothing of this start is there to undo
            raise
        except BaseException:
            # If the call to the root was cancelled, it may have spawned the worker all the same.
            domain.worker = domain.worker or self._workers.driver.worker(domain.name)
            domain.reason = DomainShutoffReason.FAILED
            self._publisher.invalidate()
            await self._abort_start(domain)
            raise
        return LaunchedGuest(status)

    async def _request_start(self, domain: DomainObject, request: Start) -> DomainStatus:
        """Call the worker; if it dies, its successor knows whether the guest was started."""
        try:
            # The memory of a large guest takes a disk minutes.
            long = LONG_S if isinstance(request.source, RestoreImage) else None
            return await self._workers.call(domain, request, long)
        except PeerGone as error:
            log.warning("the worker of %s died while it started: %s", domain.name, error)
            reported = await self._workers.get_status(domain)
            # No guest ran before, so it is this one; LXC's ids are pids, not the request's.
            if reported.guest is not None:
                return reported.guest
            detail = f"the process that started '{domain.name}' died; try again ({error})"
            raise domain.errors.operation_failed(detail) from error

    async def _replace_worker(self, domain: DomainObject) -> DomainStatus | None:
        """Replace the worker that started a guest by a smaller one, before clients see the guest.

        Returns:
            The guest as the new worker reports it; None: it does not (yet).
        """
        try:
            reported = await self._workers.replace(domain)
        except (BusError, VirError) as error:
            log.warning("the new worker of %s does not answer yet: %s", domain.name, error)
            return None
        return reported.guest

    async def _abort_start(self, domain: DomainObject) -> None:
        """Wait until the worker has undone its start, then end the worker."""
        try:
            await self._workers.undo_start(domain)
        except (BusError, VirError) as error:
            log.warning("the worker of %s cannot undo its start: %s", domain.name, error)
        await self._workers.end(domain)
