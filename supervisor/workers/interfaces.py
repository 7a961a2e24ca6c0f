"""Guests' network interfaces that need a device on the host: netd attaches and detaches them.

Owns: which interfaces those are, and the requests to netd. May touch: netd over the bus.
May not touch: host devices, networks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final

from conf.domain import Domain
from ipc import BusError
from rpc.errors import ErrorCode, VirError
from supervisor.messages.netd import AttachPort, DetachPort, PortAttached
from supervisor.workers.context import WorkerContext

#: Types of <interface> with a host device of netd's; user, udp and so on are QEMU's own.
NETD_TYPES: Final = ("network", "bridge", "ethernet", "direct")

log = logging.getLogger(__name__)


def netd_interfaces(domain: Domain) -> Iterator[int]:
    """Return the indexes of the domain's interfaces that netd attaches."""
    for index, interface in enumerate(domain.devices.interfaces):
        if interface.type in NETD_TYPES:
            yield index


async def attach_port(context: WorkerContext, request: AttachPort, mac: str) -> PortAttached:
    """Have netd make and attach one interface's host device.

    Raises:
        VirError: netd refuses; OPERATION_FAILED: netd does not answer.
    """
    try:
        return await context.node.link("netd").call(request)
    except BusError as error:
        detail = (
            f"the interface {mac} of '{request.domain}' cannot be attached: the network "
            f"service does not answer: {error}"
        )
        raise VirError(ErrorCode.OPERATION_FAILED, detail, context.driver.error_domain) from error


async def detach_port(context: WorkerContext, uuid: str, tap: str = "") -> None:
    """Have netd detach one interface, or all of a domain's for an empty `tap`.

    A failure is only logged: the kernel removes a tap when QEMU closes it, and netd notices.
    """
    try:
        request = DetachPort(uuid=uuid, tap=tap)
        await context.node.link("netd").call(request)
    except (BusError, VirError) as error:
        log.warning("netd has not detached %s of %s: %s", tap or "the interfaces", uuid, error)


def has_netd_interfaces(live_xml: str) -> bool:
    """Search a live XML for interfaces that netd attached; parsing it would take longer."""
    return any(f"<interface type='{kind}'" in live_xml for kind in NETD_TYPES)
