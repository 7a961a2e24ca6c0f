"""Guests' network cards that are plugged into the host: asking netd for them.

Owns: which cards are plugged in, and the words with netd. May touch: netd over the bus.
May not touch: links, networks.
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

NETD_TYPES: Final = ("network", "bridge", "ethernet", "direct")

log = logging.getLogger(__name__)


def netd_interfaces(domain: Domain) -> Iterator[int]:
    """The places in the list of interfaces of those that are plugged in."""
    for index, interface in enumerate(domain.devices.interfaces):
        if interface.type in NETD_TYPES:
            yield index


async def attach_port(context: WorkerContext, request: AttachPort, mac: str) -> PortAttached:
    """Have one card plugged in.

    Raises:
        VirError: it cannot be.
    """
    try:
        return await context.node.link("netd").call(request)
    except BusError as error:
        detail = (
            f"the interface {mac} of '{request.domain}' cannot be plugged in, the network "
            f"service does not answer: {error}"
        )
        raise VirError(ErrorCode.OPERATION_FAILED, detail, context.driver.error_domain) from error


async def detach_port(context: WorkerContext, uuid: str, tap: str = "") -> None:
    """Have a card plugged out, or all of a guest's.

    A failure is logged alone: a tap goes with its guest, and netd finds that out itself.
    """
    try:
        request = DetachPort(uuid=uuid, tap=tap)
        await context.node.link("netd").call(request)
    except (BusError, VirError) as error:
        log.warning("netd has not taken back %s of %s: %s", tap or "the cards", uuid, error)


def has_netd_interfaces(live_xml: str) -> bool:
    """Whether a live document may name cards that are plugged in."""
    return any(f"<interface type='{kind}'" in live_xml for kind in NETD_TYPES)
