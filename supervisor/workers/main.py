"""Worker main: takes the domain's lock, reconnects to a running domain, serves domd and clients.

Owns: that order. May touch: the lock's file. May not touch: the guest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from ipc import prepare_messages
from supervisor.dispatch.dispatcher import Dispatcher, LazyDispatcher, check_methods
from supervisor.objects.domain_phase import DomainPhase
from supervisor.objects.domain_status_xml import Status
from supervisor.runtime.child import ChildProcess
from supervisor.runtime.host import boot_id
from supervisor.runtime.warm_up import warm_up
from supervisor.workers.context import WorkerContext
from supervisor.workers.lock_file import LockHeld, remove_lock, take_lock
from supervisor.workers.running_guest import RunningGuest
from supervisor.workers.worker import Worker

LOCK_S: Final = 5.0  # for the previous worker, which is being killed

G = TypeVar("G", bound=RunningGuest)
Reconnect = Callable[[WorkerContext, str], Awaitable[G | Status | None]]


def preload_worker(worker: type[Worker[G]], driver: str, calls: tuple[type, ...]) -> None:
    """Load codecs and handlers in the zygote: the workers that are forked share their pages."""
    check_methods("worker", driver, calls)
    prepare_messages(worker, LazyDispatcher)
    boot_id()
    warm_up()


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
    worker = make_worker(context)
    previous = await reconnect(context, process.domain)
    if isinstance(previous, Status):
        worker.set_stopped(previous)
    elif previous is not None:
        worker.attach_guest(previous)
    process.node.serve(worker)
    # Made at the first client's call: most workers never get one, and the tables take memory.
    dispatcher = LazyDispatcher(
        lambda: Dispatcher("worker", *targets(worker), driver=context.driver.name)
    )
    process.node.serve(dispatcher)
    await process.ready()
    await process.stopping.wait()
    worker.close()
    if worker.phase is DomainPhase.SHUT_OFF:
        with contextlib.suppress(OSError):
            remove_lock(lock)
