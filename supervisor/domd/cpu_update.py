"""VIR_DOMAIN_XML_UPDATE_CPU: what the host makes of a definition's <cpu>.

Owns: the question to hostd. May not touch: definitions, guests.
Source: libvirt 9.0, qemuDomainDefFormatBufInternal.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from conf.domain import Domain
from conf.domain.cpu_document import format_model, parse_cpu, with_model
from ipc import Node
from supervisor.drivers.driver import Driver
from supervisor.drivers.qemu import QEMU
from supervisor.messages.hostd import UpdateCpu

#: Returns a domain whose <cpu> names model and features; the given one stays as it is.
UpdateModel = Callable[[Domain], Awaitable[Domain]]


def cpu_updates(node: Node, driver: Driver) -> UpdateModel | None:
    """Make the update by hostd; None: the driver's domains are containers, which have no CPU."""
    if driver is not QEMU:
        return None
    hostd = node.link("hostd")

    async def update(domain: Domain) -> Domain:
        if domain.cpu is None:
            return domain
        request = UpdateCpu(
            binary=domain.devices.emulator or "",
            arch=(domain.os.type.arch if domain.os.type else None) or "",
            virt_type=domain.type,
            cpu=format_model(domain.cpu),
        )
        updated = await hostd.call(request)
        return replace(domain, cpu=with_model(domain.cpu, parse_cpu(updated.cpu)))

    return update
