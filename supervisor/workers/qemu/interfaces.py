"""Network interfaces of a QEMU domain: taps and vhost descriptors from netd.

Owns: what netd is asked for. May touch: netd over the bus. May not touch: host devices, networks.
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
from supervisor.workers.interfaces import attach_port, netd_interfaces
from supervisor.workers.qemu.argv.launch_inputs import Fd

VIRTIO: Final = ("virtio", "virtio-transitional", "virtio-non-transitional")
LIVE: Final = Mode(live=True, secure=True)

log = logging.getLogger(__name__)

#: Takes over a descriptor and closes it once QEMU has inherited it.
CloseLater = Callable[[int], object]


@dataclass(slots=True)
class InterfaceFds:
    """Open descriptors of interfaces, by alias: one a queue."""

    taps: dict[str, tuple[Fd, ...]] = field(default_factory=dict)
    vhosts: dict[str, tuple[Fd, ...]] = field(default_factory=dict)


async def attach_interfaces(
    context: WorkerContext, domain: Domain, close_later: CloseLater
) -> InterfaceFds:
    """Attach every interface that netd has a device for; the model becomes what netd made.

    Args:
        context: the worker's.
        domain: with aliases and addresses.
        close_later: is called with each descriptor.

    Raises:
        VirError: an interface cannot be attached; those before it are (`detach_port`).
    """
    fds = InterfaceFds()
    for index in netd_interfaces(domain):
        interface = domain.devices.interfaces[index]
        attached = await attach_interface(context, domain, interface)
        alias = interface.alias or ""
        fds.taps[alias] = tuple(_closed_later(fd.take(), close_later) for fd in attached.taps)
        fds.vhosts[alias] = tuple(_closed_later(fd.take(), close_later) for fd in attached.vhosts)
        domain.devices.interfaces[index] = live_interface(attached)
    return fds


async def attach_interface(
    context: WorkerContext, domain: Domain, interface: Interface
) -> PortAttached:
    """Attach one interface.

    Raises:
        VirError: it cannot be attached.
    """
    queues = interface.driver.queues if interface.driver else None
    is_virtio = interface.model in VIRTIO
    in_kernel = interface.driver is None or interface.driver.name != "qemu"
    request = AttachPort(
        domain=domain.name,
        uuid=domain.uuid or "",
        driver=context.driver.name,
        interface=write(interface, LIVE),
        queues=(queues or 1) if is_virtio else 1,
        vhost=is_virtio and in_kernel,
    )
    return await attach_port(context, request, interface.mac or "")


def live_interface(attached: PortAttached) -> Interface:
    """Parse the interface that netd attached; host_mtu= tells a virtio guest the bridge's MTU."""
    interface = parse(Interface, attached.interface)
    if attached.host_mtu and interface.mtu is None and interface.model in VIRTIO:
        interface.mtu = attached.host_mtu
    return interface


def _closed_later(fd: int, close_later: CloseLater) -> int:
    close_later(fd)
    return fd
