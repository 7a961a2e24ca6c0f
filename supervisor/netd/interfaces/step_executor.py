"""Executes the steps of host interfaces, and describes links as <interface>.

Owns: the kernel requests of each step. May touch: links and sysctls, through their modules.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from conf.interface import (
    BridgeMember,
    HostBridge,
    HostInterface,
    InterfaceIp,
    InterfaceType,
    LinkState,
    Protocol,
    VlanLink,
)
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.netd.interfaces import plan
from supervisor.netd.interfaces.plan import InterfaceStep
from supervisor.netd.kernel.netlink import HostAddress, Link, Rtnetlink
from supervisor.netd.kernel.sysctl import Sysctl
from supervisor.netd.network import steps

NET: Final = Path("/sys/class/net")
TYPES: Final = {
    "bridge": InterfaceType.BRIDGE,
    "bond": InterfaceType.BOND,
    "vlan": InterfaceType.VLAN,
}
STATES: Final = ("up", "down", "lowerlayerdown", "testing", "dormant", "notpresent", "unknown")
CENTI: Final = 100
DEFAULT: Final = {4: "0.0.0.0/0", 6: "::/0"}

log = logging.getLogger(__name__)


class InterfaceStepExecutor:
    """Does and undoes steps."""

    def __init__(self, links: Rtnetlink, sysctl: Sysctl) -> None:
        self._links = links
        self._sysctl = sysctl

    async def do(self, step: InterfaceStep) -> None:
        """Do a step; a completed step is no error.

        Raises:
            VirError: SYSTEM_ERROR when the kernel refuses.
        """
        try:
            await self._do(step)
        except OSError as error:
            if error.errno == errno.EEXIST and not isinstance(step, plan.CreateLink):
                return
            detail = f"cannot do {step}: {error.strerror or error}"
            raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.INTERFACE) from error
        except TimeoutError as error:
            detail = f"the kernel did not do {step} in time"
            raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.INTERFACE) from error

    async def undo(self, step: InterfaceStep) -> None:
        """Undo a step that may have been done; failures are logged."""
        try:
            await self._undo(step)
        except (OSError, TimeoutError) as error:
            log.info("not undone: %s: %s", step, error)

    async def _do(self, step: InterfaceStep) -> None:
        links = self._links
        match step:
            case plan.CreateLink():
                await self._create_link(step)
            case plan.AddToMaster(name, master, down_first):
                if down_first:
                    await links.set_link(name, state="down")
                await links.set_master(name, master)
            case steps.SetMtu(name, mtu):
                await links.set_link(name, mtu=mtu)
            case steps.SetUp(name):
                await links.set_link(name, state="up")
            case plan.AcceptRa():
                await self._accept_ra(step)
            case steps.AddAddress(name, address, prefix, broadcast):
                await links.add_address(name, address, prefix, broadcast)
            case plan.AddGateway(name, family, address):
                await links.add_route(name, DEFAULT[family], address, 0)

    async def _create_link(self, step: plan.CreateLink) -> None:
        options = dict(step.options)
        if step.parent:
            options["link"] = await self._links.index(step.parent)
        await self._links.add(step.name, step.kind, **options)

    async def _accept_ra(self, step: plan.AcceptRa) -> None:
        for key in ("accept_ra", "autoconf"):
            path = f"ipv6/conf/{step.name}/{key}"
            await asyncio.to_thread(self._sysctl.write, path, str(int(step.on)))

    async def _undo(self, step: InterfaceStep) -> None:
        links = self._links
        match step:
            case plan.CreateLink(name, kind):
                link = await links.find(name)
                if link is not None and link.kind == kind:
                    await links.delete(name)
            case plan.AddToMaster(name):
                await links.set_link(name, master=0)
            case steps.SetUp(name):
                if await links.find(name) is not None:
                    await links.set_link(name, state="down")
            case steps.AddAddress(name, address, prefix):
                await links.delete_address(name, address, prefix)
            case plan.AddGateway(name, family, address):
                await links.delete_route(name, DEFAULT[family], address, 0)
            case _:
                return

    async def describe(self, link: Link) -> HostInterface:
        """Describe a link as <interface>."""
        links = await self._links.links()
        addresses = [
            address for address in await self._links.addresses() if address.index == link.index
        ]
        speed = await asyncio.to_thread(read_speed, link.name)
        return as_interface(link, links, addresses, speed)


def as_interface(
    link: Link, links: Sequence[Link], addresses: Sequence[HostAddress], speed: int | None
) -> HostInterface:
    """Describe a link as <interface>. Pure."""
    state = link.state if link.state in STATES else None
    interface = HostInterface(
        type=type_of(link),
        name=link.name,
        mtu=link.mtu,
        mac=link.mac or None,
        link=LinkState(state=state, speed=speed) if state or speed else None,
        protocols=[
            Protocol(
                family=f"ipv{family}",
                addresses=[
                    InterfaceIp(address=ip_address(item.address), prefix=item.prefix)
                    for item in addresses
                    if item.family == family
                ],
            )
            for family in (4, 6)
            if any(item.family == family for item in addresses)
        ],
    )
    if interface.type is InterfaceType.BRIDGE:
        members = [item for item in links if item.master == link.index]
        interface.bridge = HostBridge(
            stp=link.stp,
            delay=f"{link.delay / CENTI:g}",
            members=[
                BridgeMember(type="ethernet", name=item.name, mac=item.mac or None)
                for item in members
            ],
        )
    elif interface.type is InterfaceType.VLAN:
        below = next((item.name for item in links if item.index == link.parent), None)
        interface.vlan = VlanLink(tag=link.vlan_tag, parent=below)
    return interface


def type_of(link: Link) -> InterfaceType:
    """Return the <interface type> of a link."""
    return TYPES.get(link.kind, InterfaceType.ETHERNET)


def read_speed(name: str) -> int | None:
    """Read a link's speed in Mbit/s; None: unknown."""
    try:
        speed = int((NET / name / "speed").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return speed if speed > 0 else None
