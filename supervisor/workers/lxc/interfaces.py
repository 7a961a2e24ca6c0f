"""A container's network cards: made by netd, moved in by liblxc at the start, by us later.

Owns: what they are called, and what liblxc cannot set. May touch: netd over the bus; the
container's own network. May not touch: the host's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from conf.domain import Domain
from conf.domain.devices.interface import Interface, Ip, Route
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
    """Have every card made; the model says then what each got.

    Raises:
        VirError: a card cannot be made; those before it still are.
    """
    netdevs: dict[int, LxcInterface] = {}
    for index in list(netd_interfaces(domain)):
        interface = domain.devices.interfaces[index]
        netdevs[index] = await attach_interface(context, domain, interface, index)
    return netdevs


async def attach_interface(
    context: WorkerContext, domain: Domain, interface: Interface, index: int
) -> LxcInterface:
    """Have one card made, and put it in its place of the model.

    Raises:
        VirError: it cannot be.
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
    """The first of eth0, eth1, … that no card has or wants."""
    taken = {one.guest_actual or one.guest_dev for one in domain.devices.interfaces}
    return next(name for name in (f"eth{n}" for n in range(len(taken) + 1)) if name not in taken)


def route_commands(name: str, routes: Sequence[Route]) -> Iterator[list[str]]:
    """What liblxc cannot set: routes that lead to some place, or are ranked."""
    for route in routes:
        if default_gateway(route) is None:
            metric = ["metric", str(route.metric)] if route.metric is not None else []
            arguments = ["via", str(route_gateway(route)), "dev", name, *metric]
            yield [IP, "route", "add", str(destination(route)), *arguments]


def configure_commands(
    netdev: LxcInterface, ips: Sequence[Ip], routes: Sequence[Route], *, up: bool
) -> Iterator[list[str]]:
    """What gives a card that has just come its addresses: in the container's network."""
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
    """Whether the host has a network device of that name now."""
    status, _ = await run_program([IP, "-o", "link", "show", "dev", name])
    return status == 0


async def nsenter(pid: int, command: Sequence[str]) -> None:
    """Run one of the host's programs in the container's network.

    Raises:
        VirError: INTERNAL_ERROR with its complaint.
    """
    await run_command([NSENTER, f"--net=/proc/{pid}/ns/net", "--", *command])


async def run_command(command: Sequence[str]) -> None:
    """Run a program.

    Raises:
        VirError: INTERNAL_ERROR with its complaint.
    """
    status, output = await run_program(command)
    if status != 0:
        detail = f"'{' '.join(command)}' failed: {output}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC)
