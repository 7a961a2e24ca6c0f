"""A guest's network cards that are plugged into the host: asking netd for their taps.

Owns: which cards need a tap, and what netd is asked for them.
May touch: netd over the bus. May not touch: links, networks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from conf.domain import Domain
from conf.domain.devices.interface import Interface
from conf.mapper import Mode, parse, write
from supervisor.messages.netd import AttachPort, PortAttached
from supervisor.workers.context import WorkerContext
from supervisor.workers.interfaces import ask_for_port, plugged
from supervisor.workers.qemu.argv.launch_inputs import Fd

VIRTIO: Final = ("virtio", "virtio-transitional", "virtio-non-transitional")
LIVE: Final = Mode(live=True, secure=True)

log = logging.getLogger(__name__)

#: Takes a descriptor over and closes it in time.
Keep = Callable[[int], object]


@dataclass(slots=True)
class Taps:
    """The open descriptors of a guest's cards, by the cards' aliases."""

    taps: dict[str, tuple[Fd, ...]] = field(default_factory=dict)
    vhosts: dict[str, tuple[Fd, ...]] = field(default_factory=dict)


async def plug_all(workplace: WorkerContext, domain: Domain, keep: Keep) -> Taps:
    """Have every card plugged in; the model says then what each got.

    Args:
        workplace: where the guest's worker works.
        domain: with aliases and addresses.
        keep: is told of each open descriptor.

    Raises:
        VirError: a card cannot be plugged in; those before it still are (`unplug_all`).
    """
    found = Taps()
    for place in plugged(domain):
        interface = domain.devices.interfaces[place]
        attached = await plug(workplace, domain, interface)
        alias = interface.alias or ""
        found.taps[alias] = tuple(_kept(fd.take(), keep) for fd in attached.taps)
        found.vhosts[alias] = tuple(_kept(fd.take(), keep) for fd in attached.vhosts)
        domain.devices.interfaces[place] = live_card(attached)
    return found


async def plug(workplace: WorkerContext, domain: Domain, interface: Interface) -> PortAttached:
    """Have one card plugged in.

    Raises:
        VirError: it cannot be.
    """
    queues = interface.driver.queues if interface.driver else None
    is_virtio = interface.model in VIRTIO
    in_kernel = interface.driver is None or interface.driver.name != "qemu"
    request = AttachPort(
        domain=domain.name,
        uuid=domain.uuid or "",
        driver=workplace.driver,
        interface=write(interface, LIVE),
        queues=(queues or 1) if is_virtio else 1,
        vhost=is_virtio and in_kernel,
    )
    return await ask_for_port(workplace, request, interface.mac or "")


def live_card(attached: PortAttached) -> Interface:
    """The card as it was plugged in."""
    interface = parse(Interface, attached.interface)
    if attached.host_mtu and interface.mtu is None and interface.model in VIRTIO:
        interface.mtu = attached.host_mtu
    return interface


def _kept(fd: int, keep: Keep) -> int:
    keep(fd)
    return fd
