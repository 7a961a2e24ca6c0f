"""Worker main: takes the domain's lock, reconnects to a running domain, serves domd and clients.

Owns: that order. May touch: the lock's file. May not touch: the guest.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from ipc import handles, prepare_messages
from rpc.errors import VirError
from supervisor.dispatch.dispatcher import Dispatcher, LazyDispatcher
from supervisor.dispatch.procedure_methods import check_methods
from supervisor.messages.worker import DomainStatus, GetStatus, Start, WorkerStatus
from supervisor.objects.domain_phase import DomainPhase
from supervisor.objects.domain_status_xml import Status
from supervisor.runtime.child import ChildProcess
from supervisor.runtime.host import boot_id
from supervisor.runtime.lock_file import LockHeld, remove_lock, take_lock
from supervisor.runtime.warm_up import warm_up
from supervisor.workers.context import WorkerContext
from supervisor.workers.running_guest import RunningGuest
from supervisor.workers.worker import Worker

log = logging.getLogger(__name__)

LOCK_S: Final = 5.0  # for the previous worker, which is being killed

G = TypeVar("G", bound=RunningGuest)
Reconnect = Callable[[WorkerContext, str], Awaitable[G | Status | None]]


def preload_worker(
    worker: type[Worker[G]],
    driver: str,
    calls: tuple[type, ...],
    rehearse: Callable[[ChildProcess], Awaitable[None]] | None = None,
) -> None:
    """Load codecs and handlers in the zygote: the workers that are forked share their pages.

    Args:
        worker: the driver's.
        driver: its name.
        calls: the classes that answer clients' calls.
        rehearse: runs what most of its workers do next.
    """
    check_methods("worker", driver, calls)
    prepare_messages(worker, LazyDispatcher)
    boot_id()
    if rehearse is None:
        warm_up()
    else:
        warm_up(rehearse)


class LockRefusal:
    """Answers in place of a worker that cannot lock its domain, as the disk is full."""

    def __init__(self, error: VirError) -> None:
        self._error = error

    @handles(Start)
    def start(self, _: Start) -> DomainStatus:
        """Refuse the start; a guest that runs has its lock's file already."""
        raise self._error

    @handles(GetStatus)
    def get_status(self, _: GetStatus) -> WorkerStatus:
        """Report that there is no guest."""
        return WorkerStatus(guest=None, shutoff=None)


async def refuse_start(process: ChildProcess, error: VirError) -> None:
    """Serve a domain that cannot be locked: its start is refused, and says why."""
    log.error("%s: %s", process.domain, error.detail)
    process.node.serve(LockRefusal(error))
    await process.ready()
    await process.stopping.wait()


async def run_worker(
    process: ChildProcess,
    make_worker: Callable[[WorkerContext], Worker[G]],
    reconnect: Reconnect[G],
    targets: Callable[[Worker[G]], tuple[object, ...]],
) -> None:
    """Serve one domain until the root stops this process; the guest runs on.

    Args:
        process: this process.
        make_worker: makes the driver's worker.
        reconnect: finds the domain that the previous worker left, or the status of one that ended
            without a worker.
        targets: makes the objects whose methods answer clients' calls.

    Raises:
        SystemExit: another worker holds the domain's lock.
    """
    context = WorkerContext.for_process(process)
    lock = context.paths.lock(process.domain)
    try:
        await take_lock(lock, LOCK_S)
    except LockHeld as error:
        raise SystemExit(str(error)) from error
    except OSError as error:
        await refuse_start(process, context.driver.errors.system_error("cannot lock", error))
        return
    worker = make_worker(context)
    previous = await reconnect(context, process.domain)
    if isinstance(previous, Status):
        worker.set_stopped(previous)
    elif previous is not None:
        worker.attach_guest(previous)
    process.node.serve(worker)
    # Made at the first client's call: most workers never get one, and the tables take memory.
    # No guard: domd has checked what it forwards.
    dispatcher = LazyDispatcher(
        lambda: Dispatcher("worker", *targets(worker), guard=None, driver=context.driver.name)
    )
    process.node.serve(dispatcher)
    await process.ready()
    await process.stopping.wait()
    worker.close()
    if worker.phase is DomainPhase.SHUT_OFF:
        with contextlib.suppress(OSError):
            remove_lock(lock)
