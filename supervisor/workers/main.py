"""A worker's life: it takes its guest's lock, adopts what a predecessor left, and answers.

Owns: the order of that. May touch: the lock's file. May not touch: the guest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from ipc import prepare_messages
from supervisor.dispatch.dispatcher import Later, Surface, owned
from supervisor.objects.domain_status_xml import Status
from supervisor.runtime.child import Process
from supervisor.runtime.pidfd import boot_id
from supervisor.runtime.warm_up import rehearse
from supervisor.workers.context import Workplace
from supervisor.workers.lock_file import LockedElsewhere, take_lock
from supervisor.workers.running_guest import RunningGuest
from supervisor.workers.worker import GuestWorker

LOCK_S: Final = 5.0  # for a predecessor that is being ended

G = TypeVar("G", bound=RunningGuest)
Adopt = Callable[[Workplace, str], Awaitable[G | Status | None]]


def prepare(worker: type[GuestWorker[G]], driver: str) -> None:
    """Make what every worker of a driver needs once, before any is forked: pages are shared."""
    owned("worker", driver)
    prepare_messages(worker, Later)
    boot_id()
    rehearse()


async def drive(
    process: Process,
    make: Callable[[Workplace], GuestWorker[G]],
    adopt: Adopt[G],
    targets: Callable[[GuestWorker[G]], tuple[object, ...]],
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
    workplace = Workplace.of(process)
    try:
        await take_lock(workplace.paths.lock(process.domain), LOCK_S)
    except LockedElsewhere as problem:
        raise SystemExit(str(problem)) from problem
    worker = make(workplace)
    found = await adopt(workplace, process.domain)
    if isinstance(found, Status):
        worker.had(found)
    elif found is not None:
        worker.have(found)
    process.node.serve(worker)
    surface = Later(lambda: Surface("worker", *targets(worker), driver=workplace.driver))
    process.node.serve(surface)
    await process.ready()
    await process.stopping.wait()
    worker.close()
