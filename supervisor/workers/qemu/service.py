"""A guest's worker: it launches one guest or takes it over, and drives it until one of them ends.

Owns: one QEMU process, its monitor, its status document. Nobody else talks to them.
May touch: what the guest's document names; hook scripts.
May not touch: definitions, client sockets, other guests.
Runs with: what launching takes; everything that the guest or its agent says is hostile.
"""

from __future__ import annotations

import logging
from typing import Final

from supervisor.calls import Surface
from supervisor.process import Process
from supervisor.workers.locking import LockedElsewhere, take_lock
from supervisor.workers.qemu.adopting import adopt
from supervisor.workers.qemu.calls.targets import targets
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.worker import Worker
from supervisor.workers.qemu.workplace import Workplace

LOCK_S: Final = 5.0

log = logging.getLogger(__name__)


async def serve(process: Process) -> None:
    """Drive one guest until the process is told to stop; the guest runs on then.

    Raises:
        SystemExit: another worker has the guest.
    """
    workplace = Workplace.of(process)
    try:
        await take_lock(process.paths.lock(process.domain), LOCK_S)
    except LockedElsewhere as problem:
        raise SystemExit(str(problem)) from problem
    worker = Worker(workplace)
    found = await adopt(workplace, process.domain)
    if isinstance(found, Guest):
        worker.have(found)
    elif found is not None:
        worker.had(found)
    process.node.serve(worker)
    process.node.serve(Surface("worker", *targets(worker)))
    await process.ready()
    await process.stopping.wait()
    worker.close()
