"""Taking over a container that another worker started.

Owns: the order of that. May touch: the container's process; what a dead container left.
May not touch: a container that another worker drives (the lock is held by now).
"""

from __future__ import annotations

import contextlib
import logging

from conf.errors import ConfError
from rpc.enums import DomainShutoffReason, DomainState
from rpc.errors import VirError
from supervisor.objects.domain_status_xml import Status, find_status
from supervisor.runtime.pidfd import GuestProcess, ProcessIdentity
from supervisor.workers.context import WorkerContext
from supervisor.workers.lxc import cgroups, start_barrier
from supervisor.workers.lxc.container import Container, folder_of, read_held
from supervisor.workers.lxc.liblxc import init_pid
from supervisor.workers.lxc.restart import begin_again
from supervisor.workers.lxc.stop import clean_up, end
from supervisor.workers.state_table import Trigger

log = logging.getLogger(__name__)


async def adopt(workplace: WorkerContext, name: str) -> Container | Status | None:
    """Take over what a predecessor left.

    Returns:
        The container; the status of one that has gone, which is cleaned up but for its status
        document; or None: there was nothing.
    """
    found = find_status(workplace.paths.status(name))
    if found is None:
        return None
    status, xml = found
    known = ProcessIdentity(status.pid, status.start, status.boot)
    process = GuestProcess.reopen(known) if status.pid else None
    if process is None:
        return await _missed(workplace, status, xml)
    container = Container(workplace, xml, status, process)
    held = read_held(folder_of(workplace.paths, name), cgroups.group_name(status.uuid, name))
    container.group = held.group
    await _catch_up(container)
    if not workplace.process.is_replacement:
        await workplace.hooks.notify(name, "reconnect", xml, sub="begin")
    return container


async def _missed(workplace: WorkerContext, status: Status, xml: str) -> Container | Status:
    """Finish what a container that has gone began: its end, or its reboot."""
    try:
        again = await begin_again(workplace, status, xml)
        if again is not None:
            return again
    except (ConfError, VirError, OSError) as error:
        log.error("%s has rebooted and cannot begin again: %s", status.name, error)
        status.ending, status.restart = DomainShutoffReason.FAILED, False
    await clean_up(workplace, status, xml)
    return status


async def _catch_up(container: Container) -> None:
    """Learn what happened while nobody watched."""
    container.gated = start_barrier.stands(container.folder, container.process.pid)
    if not container.gated:
        await _find_init(container)
    if container.status.ending:
        reason = DomainShutoffReason(container.status.ending)
        container.run(end(container, reason, graceful=False))


async def _find_init(container: Container) -> None:
    """Learn of its init, and whether it stands still."""
    try:
        container.begin(await init_pid(container.folder))
    except (VirError, ProcessLookupError) as error:
        log.warning("%s: its init is not known yet: %s", container.name, error)
    frozen = False
    with contextlib.suppress(VirError):
        frozen = cgroups.is_frozen(container.group)
    if frozen and container.state is DomainState.RUNNING:
        container.transition(Trigger.STOPPED)
    elif not frozen and container.state is DomainState.PAUSED:
        container.transition(Trigger.RESUMED)
