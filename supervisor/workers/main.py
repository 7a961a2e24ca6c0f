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
from supervisor.runtime.pidfd import boot_id
from supervisor.runtime.warm_up import warm_up
from supervisor.workers.context import WorkerContext
from supervisor.workers.lock_file import LockedElsewhere, take_lock
from supervisor.workers.running_guest import RunningGuest
from supervisor.workers.worker import Worker

LOCK_S: Final = 5.0  # for a predecessor that is being ended

G = TypeVar("G", bound=RunningGuest)
Adopt = Callable[[WorkerContext, str], Awaitable[G | Status | None]]


def preload_worker(worker: type[Worker[G]], driver: str) -> None:
    """Make what every worker of a driver needs once, before any is forked: pages are shared."""
    loaded_procedures("worker", driver)
    prepare_messages(worker, LazyDispatcher)
    boot_id()
    warm_up()


async def run_worker(
    process: ChildProcess,
    make: Callable[[WorkerContext], Worker[G]],
    adopt: Adopt[G],
    targets: Callable[[Worker[G]], tuple[object, ...]],
) -> None:
    """Drive one guest until the process is told to stop; the guest runs on then.

    Args:
        process: this one.
        make: makes the driver's worker.
        adopt: takes over what a predecessor left: a guest, or the status of one that has gone.
        targets: what answers clients' calls on a running guest.

    Raises:
        SystemExit: another worker has the guest.
    """
    workplace = WorkerContext.of(process)
    try:
        await take_lock(workplace.paths.lock(process.domain), LOCK_S)
    except LockedElsewhere as error:
        raise SystemExit(str(error)) from error
    worker = make(workplace)
    found = await adopt(workplace, process.domain)
    if isinstance(found, Status):
        worker.set_stopped(found)
    elif found is not None:
        worker.attach_guest(found)
    process.node.serve(worker)
    surface = LazyDispatcher(
        lambda: Dispatcher("worker", *targets(worker), driver=workplace.driver)
    )
    process.node.serve(surface)
    await process.ready()
    await process.stopping.wait()
    worker.close()
