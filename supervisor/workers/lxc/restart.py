"""A container that reboots by itself: it ends, and begins again as its live document says.

Owns: the order of that. May touch: the container, through its end and its start.

liblxc could begin it again with the configuration of its start; what came, went or changed
meanwhile (devices, limits) would be lost, so it is kept from doing so: see `plan.reboot_lines`.
Stock ends and starts it as well; its number changes with that.
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
    """Have a container begin again that has ended in a reboot.

    A process that dies on the way leaves word that the domain is to be started anew.

    Returns:
        The container; None: nobody has rebooted it, or its document wants something else then.

    Raises:
        ConfError, VirError: it cannot; it is off then, and nothing is left of it.
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
    document = format_domain(domain, live=False, secure=True)
    request = Start(xml=document, id=status.id, autodestroy=status.autodestroy)
    return await launch(context, request, restarted=True)
