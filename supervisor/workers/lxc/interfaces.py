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
from supervisor.workers.lxc.commands import run
from supervisor.workers.lxc.config import Card
from supervisor.workers.lxc.config.network import (
    default_gateway,
    destination,
    gateway_of,
    interface_of,
)

LIVE: Final = Mode(live=True, secure=True)
NSENTER: Final = "/usr/bin/nsenter"
IP: Final = "/usr/sbin/ip"


async def plug_all(workplace: WorkerContext, domain: Domain) -> dict[int, Card]:
    """Have every card made; the model says then what each got.

    Raises:
        VirError: a card cannot be made; those before it still are.
    """
    found: dict[int, Card] = {}
    for place in list(netd_interfaces(domain)):
        interface = domain.devices.interfaces[place]
        found[place] = await plug(workplace, domain, interface, place)
    return found


async def plug(workplace: WorkerContext, domain: Domain, interface: Interface, place: int) -> Card:
    """Have one card made, and put it in its place of the model.

    Raises:
        VirError: it cannot be.
    """
    request = AttachPort(
        domain=domain.name,
        uuid=domain.uuid or "",
        driver=workplace.driver.name,
        interface=write(interface, LIVE),
        vhost=False,
        container=True,
    )
    attached = await attach_port(workplace, request, interface.mac or "")
    live = parse(Interface, attached.interface)
    live.guest_actual = interface.guest_dev or free_name(domain)
    if place == len(domain.devices.interfaces):
        domain.devices.interfaces.append(live)
    else:
        domain.devices.interfaces[place] = live
    return Card(attached.peer, live.guest_actual)


def free_name(domain: Domain) -> str:
    """The first of eth0, eth1, … that no card has or wants."""
    taken = {one.guest_actual or one.guest_dev for one in domain.devices.interfaces}
    return next(name for name in (f"eth{n}" for n in range(len(taken) + 1)) if name not in taken)


def route_commands(name: str, routes: Sequence[Route]) -> Iterator[list[str]]:
    """What liblxc cannot set: routes that lead to some place, or are ranked."""
    for route in routes:
        if default_gateway(route) is None:
            metric = ["metric", str(route.metric)] if route.metric is not None else []
            way = ["via", str(gateway_of(route)), "dev", name, *metric]
            yield [IP, "route", "add", str(destination(route)), *way]


def settle_commands(
    card: Card, ips: Sequence[Ip], routes: Sequence[Route], *, up: bool
) -> Iterator[list[str]]:
    """What gives a card that has just come its addresses: in the container's network."""
    for ip in ips:
        yield [IP, "address", "add", str(interface_of(ip)), "dev", card.name]
    if up:
        yield [IP, "link", "set", "dev", card.name, "up"]
    for route in routes:
        gateway = default_gateway(route)
        if gateway is not None:
            yield [IP, "route", "add", "default", "via", str(gateway), "dev", card.name]
    yield from route_commands(card.name, routes)


async def is_here(name: str) -> bool:
    """Whether the host has a network device of that name now."""
    status, _ = await run([IP, "-o", "link", "show", "dev", name])
    return status == 0


async def run_inside(pid: int, command: Sequence[str]) -> None:
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
    status, words = await run(command)
    if status != 0:
        detail = f"'{' '.join(command)}' failed: {words}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC)
