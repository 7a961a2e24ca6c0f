"""Restart of a container that rebooted: cleanup, then a start with the live XML.

Owns: the order of that. May touch: the container, through stop and start.

liblxc could restart it itself, but with the configuration of the first start: devices and limits
that were changed since would be lost. Its post-stop hook keeps it from that (`plan.REBOOT_HOOK`).
libvirt stops and starts it as well; its id changes with that.
"""

from __future__ import annotations

from conf.domain import format_domain, parse_domain
from rpc.enums import DomainShutoffReason
from supervisor.messages.worker import Start
from supervisor.objects.domain_status_xml import Status, write_status
from supervisor.workers import lifecycle_actions
from supervisor.workers.context import WorkerContext
from supervisor.workers.lifecycle_actions import Action
from supervisor.workers.lxc.container import Container, container_folder
from supervisor.workers.lxc.start import launch
from supervisor.workers.lxc.stop import clean_up, has_rebooted


async def restart_rebooted(context: WorkerContext, status: Status, xml: str) -> Container | None:
    """Restart a container that stopped by rebooting.

    `status.restart` is saved first: if this worker dies, domd starts the domain.

    Returns:
        The container; None: it did not reboot, or <on_reboot> is not "restart".

    Raises:
        ConfError, VirError: it cannot be started; it is shut off and cleaned up then.
        OSError: its status cannot be written.
    """
    if status.ending or not has_rebooted(container_folder(context.paths, status.name)):
        return None
    domain = parse_domain(xml)
    if lifecycle_actions.on_reboot(domain).action is not Action.RESTART:
        return None
    status.ending, status.restart = DomainShutoffReason.SHUTDOWN, True
    write_status(context.paths.status(status.name), status, xml)
    await clean_up(context, status, xml)
    text = format_domain(domain, live=False, secure=True)
    request = Start(xml=text, id=status.id, autodestroy=status.autodestroy)
    return await launch(context, request, restarted=True)
