"""A worker's life: it takes its guest's lock, adopts what a predecessor left, and answers.

Owns: the order of that. May touch: the lock's file. May not touch: the guest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from ipc import prepare_messages
from supervisor.dispatch.dispatcher import Dispatcher, LazyDispatcher, loaded_procedures
from supervisor.objects.domain_status_xml import Status
from supervisor.runtime.child import ChildProcess
from supervisor.runtime.host import boot_id
from supervisor.runtime.warm_up import warm_up
from supervisor.workers.context import WorkerContext
from supervisor.workers.lock_file import LockHeld, take_lock
from supervisor.workers.running_guest import RunningGuest
from supervisor.workers.worker import Worker

LOCK_S: Final = 5.0  # for a predecessor that is being ended

G = TypeVar("G", bound=RunningGuest)
Reconnect = Callable[[WorkerContext, str], Awaitable[G | Status | None]]


def preload_worker(worker: type[Worker[G]], driver: str) -> None:
    """Make what every worker of a driver needs once, before any is forked: pages are shared."""
    loaded_procedures("worker", driver)
    prepare_messages(worker, LazyDispatcher)
    boot_id()
    warm_up()


async def run_worker(
    process: ChildProcess,
    make_worker: Callable[[WorkerContext], Worker[G]],
    reconnect: Reconnect[G],
    targets: Callable[[Worker[G]], tuple[object, ...]],
) -> None:
    """Drive one guest until the process is told to stop; the guest runs on then.

    Args:
        process: this one.
        make_worker: makes the driver's worker.
        reconnect: takes over what a predecessor left: a guest, or the status of one that has gone.
        targets: what answers clients' calls on a running guest.

    Raises:
        SystemExit: another worker has the guest.
    """
    context = WorkerContext.for_process(process)
    try:
        await take_lock(context.paths.lock(process.domain), LOCK_S)
    except LockHeld as error:
        raise SystemExit(str(error)) from error
    worker = make_worker(context)
    previous = await reconnect(context, process.domain)
    if isinstance(previous, Status):
        worker.set_stopped(previous)
    elif previous is not None:
        worker.attach_guest(previous)
    process.node.serve(worker)
    dispatcher = LazyDispatcher(
        lambda: Dispatcher("worker", *targets(worker), driver=context.driver.name)
    )
    process.node.serve(dispatcher)
    await process.ready()
    await process.stopping.wait()
    worker.close()
