"""A container's interfaces: netd makes them; liblxc moves them in at the start, hotplug later.

Owns: their names in the container, and the routes that liblxc cannot set. May touch: netd over the
bus; the container's network namespace. May not touch: the host's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from conf.domain import Domain
from conf.domain.devices.addressing import Ip, Route
from conf.domain.devices.interface import Interface
from conf.mapper import Mode, parse, write
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.messages.netd import AttachPort
from supervisor.workers.context import WorkerContext
from supervisor.workers.interfaces import attach_port, netd_interfaces
from supervisor.workers.lxc.commands import run_program
from supervisor.workers.lxc.config import LxcInterface
from supervisor.workers.lxc.config.network import (
    default_gateway,
    destination,
    ip_interface,
    route_gateway,
)

LIVE: Final = Mode(live=True, secure=True)
NSENTER: Final = "/usr/bin/nsenter"
IP: Final = "/usr/sbin/ip"


async def attach_all(context: WorkerContext, domain: Domain) -> dict[int, LxcInterface]:
    """Have netd make every interface; the model is updated with each result.

    Raises:
        VirError: one cannot be made; those before it are.
    """
    netdevs: dict[int, LxcInterface] = {}
    for index in list(netd_interfaces(domain)):
        interface = domain.devices.interfaces[index]
        netdevs[index] = await attach_interface(context, domain, interface, index)
    return netdevs


async def attach_interface(
    context: WorkerContext, domain: Domain, interface: Interface, index: int
) -> LxcInterface:
    """Have netd make one interface, and replace it in the model.

    Raises:
        VirError: it cannot be made.
    """
    request = AttachPort(
        domain=domain.name,
        uuid=domain.uuid or "",
        driver=context.driver.name,
        interface=write(interface, LIVE),
        vhost=False,
        container=True,
    )
    attached = await attach_port(context, request, interface.mac or "")
    live = parse(Interface, attached.interface)
    live.guest_actual = interface.guest_dev or free_name(domain)
    if index == len(domain.devices.interfaces):
        domain.devices.interfaces.append(live)
    else:
        domain.devices.interfaces[index] = live
    return LxcInterface(attached.peer, live.guest_actual)


def free_name(domain: Domain) -> str:
    """Find the first of eth0, eth1, … that no interface of the domain has."""
    taken = {nic.guest_actual or nic.guest_dev for nic in domain.devices.interfaces}
    return next(name for name in (f"eth{n}" for n in range(len(taken) + 1)) if name not in taken)


def route_commands(name: str, routes: Sequence[Route]) -> Iterator[list[str]]:
    """Build the commands for routes that liblxc cannot set: all but a metricless default."""
    for route in routes:
        if default_gateway(route) is None:
            metric = ["metric", str(route.metric)] if route.metric is not None else []
            arguments = ["via", str(route_gateway(route)), "dev", name, *metric]
            yield [IP, "route", "add", str(destination(route)), *arguments]


def configure_commands(
    netdev: LxcInterface, ips: Sequence[Ip], routes: Sequence[Route], *, up: bool
) -> Iterator[list[str]]:
    """Build the commands that configure a hotplugged interface in the container's namespace."""
    for ip in ips:
        yield [IP, "address", "add", str(ip_interface(ip)), "dev", netdev.name]
    if up:
        yield [IP, "link", "set", "dev", netdev.name, "up"]
    for route in routes:
        gateway = default_gateway(route)
        if gateway is not None:
            yield [IP, "route", "add", "default", "via", str(gateway), "dev", netdev.name]
    yield from route_commands(netdev.name, routes)


async def exists(name: str) -> bool:
    """Return whether the host has a network device of that name."""
    status, _ = await run_program([IP, "-o", "link", "show", "dev", name])
    return status == 0


async def nsenter(pid: int, command: Sequence[str]) -> None:
    """Run a program of the host in the network namespace of a process.

    Raises:
        VirError: INTERNAL_ERROR with its output.
    """
    await run_command([NSENTER, f"--net=/proc/{pid}/ns/net", "--", *command])


async def run_command(command: Sequence[str]) -> None:
    """Run a program.

    Raises:
        VirError: INTERNAL_ERROR with its output.
    """
    status, output = await run_program(command)
    if status != 0:
        detail = f"'{' '.join(command)}' failed: {output}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC)
