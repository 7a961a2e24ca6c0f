"""Workers: domd's client of the worker processes, one for each running domain.

Owns: the link between a domain and its worker, and which failures are retried.
May touch: workers over the bus; the root, to have them spawned and ended.
May not touch: domains' runtime state.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, Final, TypeVar
from uuid import uuid4

from ipc import BusError, DeadlineExceeded, Event, Node, NoSuchService, PeerGone, Request
from rpc.errors import ErrorCode, VirError
from supervisor.domd.domain import DomainObject
from supervisor.domd.registry import not_running
from supervisor.drivers.driver import Driver
from supervisor.messages.root import EndWorker, ReplaceWorker, SpawnWorker
from supervisor.messages.worker import Destroy, GetStatus, WorkerStatus

RETRY_PAUSE_S: Final = 0.02
UNDO_TRIES: Final = 5
STATUS_RETRIES: Final = 2  # of GetStatus, when its worker dies over it
START_QUERIES: Final = 5  # of a worker without a known guest: a start can outlast GetStatus

R = TypeVar("R")
E = TypeVar("E", bound=Event)

log = logging.getLogger(__name__)


class Workers:
    """The workers of one driver's domains."""

    def __init__(self, node: Node, driver: Driver) -> None:
        self.driver = driver
        self._node = node
        self._subscriptions: list[Callable[[str], None]] = []

    def subscribe(self, kind: type[E], handler: Callable[[E], None]) -> None:
        """Handle an event type of every worker that is spawned from now on."""
        self._subscriptions.append(lambda name: self._node.subscribe(name, kind, handler))

    async def spawn(self, domain: DomainObject) -> bool:
        """Have the root spawn the domain's worker, unless one runs.

        Returns:
            Whether one ran: it may be in the middle of a start that a previous domd requested.

        Raises:
            VirError, BusError: it cannot be spawned.
        """
        request = SpawnWorker(driver=self.driver.name, domain=domain.name, uuid=domain.uuid_text)
        spawned = await self._node.control.call(request)
        for subscribe in self._subscriptions:
            subscribe(spawned.name)
        domain.worker = spawned.name
        return spawned.existed

    async def call_spare(self, request: Request[R]) -> R:
        """Have a worker without a domain answer, which is spawned for that and ended after it.

        Raises:
            BusError: there is no reply; VirError: the worker's error.
        """
        name = f".{uuid4().hex}"  # no domain's
        spawned = await self._node.control.call(
            SpawnWorker(driver=self.driver.name, domain=name, uuid=str(uuid4()))
        )
        try:
            return await self._node.link(spawned.name).call(request)
        finally:
            await self.end_named(spawned.name)

    async def replace(self, domain: DomainObject) -> WorkerStatus:
        """Have the root replace the domain's worker, and return what the new one reports.

        Raises:
            VirError, BusError: it does not reply (yet).
        """
        await self._node.control.call(ReplaceWorker(name=domain.worker))
        return await self.get_status(domain)

    async def get_status(self, domain: DomainObject) -> WorkerStatus:
        """Query a domain's worker; if it dies over that, its successor is queried.

        Raises:
            VirError, BusError: none replies.
        """
        for _ in range(STATUS_RETRIES):
            with contextlib.suppress(PeerGone):
                return await self.call(domain, GetStatus())
        return await self.call(domain, GetStatus())

    async def get_status_after_start(self, name: str) -> WorkerStatus:
        """Query a worker that may be in the middle of a start, which it finishes before.

        Returns:
            Its status; an empty one if it does not reply.
        """
        for _ in range(START_QUERIES):
            try:
                return await self._node.link(name).call(GetStatus())
            except DeadlineExceeded as error:
                log.info("worker %s is still busy: %s", name, error)
            except (BusError, VirError) as error:
                log.info("worker %s does not reply: %s", name, error)
                break
        return WorkerStatus()

    async def undo_start(self, domain: DomainObject) -> None:
        """Have the worker whose start failed or was cancelled stop the guest, where there is one.

        A worker that is just being replaced ends over either request: its successor has the guest.

        Raises:
            BusError, VirError: none does so; the last one's answer.
        """
        for tries_left in reversed(range(UNDO_TRIES)):
            try:
                # It answers when no start is under way any more.
                reported = await self.get_status(domain)
                if reported.guest is not None:  # the start had succeeded when it was cancelled
                    await self.call(domain, Destroy(graceful=False))
                return
            except (PeerGone, NoSuchService) as error:
                if not tries_left:
                    raise
                log.info("%s: its worker ended while it undid a start: %s", domain.name, error)
            await asyncio.sleep(RETRY_PAUSE_S)

    async def end(self, domain: DomainObject) -> None:
        """End a domain's worker; the root does not respawn it."""
        name, domain.worker = domain.worker, ""
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
        self, domain: DomainObject, request: Request[R], deadline_s: float | None = None
    ) -> R:
        """Call a domain's worker, whether it has a guest or not.

        Raises:
            BusError: there is no reply; VirError: the worker's error.
        """
        return await self._node.link(domain.worker).call(request, deadline_s=deadline_s)

    async def call_running(self, domain: DomainObject, request: Request[R]) -> R:
        """Call the worker of an active domain, once.

        Raises:
            VirError: OPERATION_INVALID: the domain is off, or has stopped meanwhile;
                OPERATION_TIMEOUT: no reply; OPERATION_FAILED: the worker died, so that the request
                may or may not have been done; the worker's error.
        """
        if not domain.is_active:
            raise not_running(domain)
        try:
            return await self.call(domain, request)
        except DeadlineExceeded as error:
            raise no_reply_in_time(domain, request, error) from error
        except BusError as error:
            if not domain.is_active:
                raise not_running(domain) from error
            detail = (
                f"the worker process of domain '{domain.name}' died and is restarted; the guest "
                f"keeps running, check whether the operation was done: {error}"
            )
            raise domain.errors.operation_failed(detail) from error

    async def call_until_done(self, domain: DomainObject, request: Request[R]) -> R | None:
        """Retry an idempotent request across worker restarts until it succeeds.

        Returns:
            The reply; None: the domain has stopped meanwhile.

        Raises:
            VirError: as `call_running`.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + request.deadline_s
        lost = False
        while domain.is_active:
            left = deadline - loop.time()
            try:
                return await self.call(domain, request, left)
            except (PeerGone, NoSuchService) as error:
                # Without a process the root has not respawned it; recovery has it spawned.
                lost = True
                log.info("%s: the request is retried, its worker died: %s", domain.name, error)
            except VirError as error:
                if not lost or error.code is not ErrorCode.OPERATION_INVALID:
                    raise
                # The successor found no guest: recovery is about to mark the domain shut off.
            except DeadlineExceeded as error:
                raise no_reply_in_time(domain, request, error) from error
            await asyncio.sleep(min(RETRY_PAUSE_S, max(0.0, left)))
        return None


def no_reply_in_time(
    domain: DomainObject, request: Request[Any], error: DeadlineExceeded
) -> VirError:
    """OPERATION_TIMEOUT: the worker, or its QEMU, hangs."""
    operation = type(request).__name__
    return domain.errors.operation_timeout(
        f"domain '{domain.name}' did not complete {operation} in {request.deadline_s:.0f} s; "
        f"destroy it if it does not recover: {error}"
    )
