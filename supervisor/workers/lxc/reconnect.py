"""Reconnect to a container that an earlier worker started.

Owns: the order of that. May touch: the container's process; what a stopped container left.
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
from supervisor.workers.cgroups import containers
from supervisor.workers.context import WorkerContext
from supervisor.workers.lxc import start_barrier
from supervisor.workers.lxc.container import Container, container_folder, read_resources
from supervisor.workers.lxc.liblxc import init_pid
from supervisor.workers.lxc.restart import restart_rebooted
from supervisor.workers.lxc.stop import clean_up, stop
from supervisor.workers.state_table import Trigger

log = logging.getLogger(__name__)


async def reconnect(context: WorkerContext, name: str) -> Container | Status | None:
    """Reconnect by the status file.

    Returns:
        The container; the status of one that has stopped, which is cleaned up except for its
        status file; or None: there is no status file.
    """
    stored = find_status(context.paths.status(name))
    if stored is None:
        return None
    status, xml = stored
    identity = ProcessIdentity(status.pid, status.start, status.boot)
    process = GuestProcess.reopen(identity) if status.pid else None
    if process is None:
        return await _finish_exited(context, status, xml)
    container = Container(context, xml, status, process)
    resources = read_resources(
        container_folder(context.paths, name), containers.group_name(status.uuid, name)
    )
    container.group = resources.group
    await _query_state(container)
    if not context.process.is_replacement:
        await context.hooks.notify(name, "reconnect", xml, sub="begin")
    return container


async def _finish_exited(context: WorkerContext, status: Status, xml: str) -> Container | Status:
    """Clean up a container that stopped without a worker, or restart it if it rebooted."""
    try:
        restarted = await restart_rebooted(context, status, xml)
        if restarted is not None:
            return restarted
    except (ConfError, VirError, OSError) as error:
        log.error("%s has rebooted and cannot be started again: %s", status.name, error)
        status.ending, status.restart = DomainShutoffReason.FAILED, False
    await clean_up(context, status, xml)
    return status


async def _query_state(container: Container) -> None:
    """Query what happened without a worker."""
    container.at_barrier = start_barrier.is_waiting(container.folder, container.process.pid)
    if not container.at_barrier:
        await _find_init(container)
    if container.status.ending:
        reason = DomainShutoffReason(container.status.ending)
        container.run(stop(container, reason, graceful=False))


async def _find_init(container: Container) -> None:
    """Query the pid of init, and whether the cgroup is frozen."""
    try:
        container.attach_init(await init_pid(container.folder))
    except (VirError, ProcessLookupError) as error:
        log.warning("%s: the pid of init is not known yet: %s", container.name, error)
    frozen = False
    with contextlib.suppress(VirError):
        frozen = containers.is_frozen(container.group)
    if frozen and container.state is DomainState.RUNNING:
        container.transition(Trigger.STOPPED)
    elif not frozen and container.state is DomainState.PAUSED:
        container.transition(Trigger.RESUMED)
