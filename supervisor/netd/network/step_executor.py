"""Executes and undoes the steps of networks.

Owns: the order of both, and the requests of each step.
May touch: links, settings, the packet filter and dnsmasq, each through its own module.
May not touch: what is to be done (`supervisor.netd.network.plan`).
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Final, TypeVar

from rpc.errors import VirError
from supervisor.dispatch.service_errors import NETWORK_ERRORS
from supervisor.netd.kernel import bandwidth
from supervisor.netd.kernel.netlink import Link, Rtnetlink
from supervisor.netd.kernel.sysctl import Sysctl
from supervisor.netd.network import steps
from supervisor.netd.network.network_services import NetworkServices
from supervisor.netd.network.steps import Step

UNDO_S: Final = 30.0
FORWARD: Final = {4: "ipv4/ip_forward", 6: "ipv6/conf/all/forwarding"}

S = TypeVar("S")

log = logging.getLogger(__name__)


class StepExecutor:
    """Does and undoes steps; a step that is already done is no error."""

    def __init__(self, links: Rtnetlink, sysctl: Sysctl, services: NetworkServices) -> None:
        self._links = links
        self._sysctl = sysctl
        self._services = services

    async def do(self, step: Step) -> None:
        """Do a step.

        Raises:
            VirError: SYSTEM_ERROR: the kernel refuses; those of dnsmasq and the firewall.
        """
        try:
            await self._do(step)
        except OSError as error:
            raise NETWORK_ERRORS.system_error(f"cannot {describe_step(step)}", error) from error

    async def undo(self, step: Step) -> None:
        """Undo a step that may have been done, in full or in part; failures are logged."""
        try:
            async with asyncio.timeout(UNDO_S):
                await self._undo(step)
        except (OSError, VirError, TimeoutError) as error:
            log.error("not undone: %s: %s", describe_step(step), error)

    async def _do(self, step: Step) -> None:
        match step:
            case steps.CreateBridge():
                await self._create_bridge(step)
            case steps.SetMtu(device, mtu):
                await self._links.set_link(device, mtu=mtu)
            case steps.WriteSetting(key, value, required):
                await self._write(key, value, required=required)
            case steps.Forward(family):
                await self._write(FORWARD[family], "1", required=True)
            case steps.AddAddress():
                await self._add_address(step)
            case _:
                await self._do_more(step)

    async def _do_more(self, step: Step) -> None:
        match step:
            case steps.SetUp(device):
                await self._links.set_link(device, state="up")
            case steps.AddRoute(device, destination, gateway, metric):
                await ignore_errno(
                    errno.EEXIST, self._links.add_route(device, destination, gateway, metric)
                )
            case steps.LimitTraffic():
                await self._limit(step)
            case steps.InstallRules(facts):
                await self._services.install_rules(facts)
            case steps.WriteDnsmasqConfig(config):
                await self._services.write_config(config)
            case steps.StartDnsmasq(config):
                await self._services.start_dnsmasq(config)

    async def _undo(self, step: Step) -> None:
        match step:
            case steps.CreateBridge(bridge, mac):
                link = await self._links.find(bridge)
                if link is not None and is_network_bridge(link, mac):
                    await self._links.delete(bridge)
            case steps.InstallRules(facts):
                await self._services.remove_rules(facts)
            case steps.WriteDnsmasqConfig(config):
                await self._services.remove_config(config.paths)
            case steps.StartDnsmasq(config):
                await self._services.stop_dnsmasq(config.network, config.paths)
            case _:
                return  # deleted with the bridge; or, like ip_forward, others may rely on it now

    async def _create_bridge(self, step: steps.CreateBridge) -> None:
        options: dict[str, object] = {
            "br_forward_delay": step.delay,
            "br_stp_state": int(step.stp),
            "address": step.mac,
        }
        if step.vlan_filtering:
            options["br_vlan_filtering"] = 1
        link = await self._links.find(step.bridge)
        if link is not None and is_network_bridge(link, step.mac):
            return  # created before a crash: its addresses and ports are kept
        await self._links.add(step.bridge, "bridge", **options)

    async def _add_address(self, step: steps.AddAddress) -> None:
        await ignore_errno(
            errno.EEXIST,
            self._links.add_address(step.device, step.address, step.prefix, step.broadcast),
        )

    async def _write(self, key: str, value: str, *, required: bool) -> None:
        if not required and await asyncio.to_thread(self._sysctl.read, key) is None:
            return
        previous = await asyncio.to_thread(self._sysctl.write, key, value)
        if previous is not None and not key.count("/conf/virbr"):
            log.info("the kernel's setting %s is %s now; it was %s", key, value, previous)

    async def _limit(self, step: steps.LimitTraffic) -> None:
        await self._links.traffic(
            lambda ip, index: bandwidth.run_commands(
                ip, index, bandwidth.removal_commands(), removing=True
            ),
            step.device,
        )
        orders = bandwidth.tc_commands(step.limits, shared=True)
        await self._links.traffic(
            lambda ip, index: bandwidth.run_commands(ip, index, orders), step.device
        )


async def run_steps(
    steps: Sequence[S],
    do: Callable[[S], Awaitable[None]],
    undo: Callable[[S], Awaitable[None]],
) -> None:
    """Do the steps in order; on failure undo the failed one and all before it, newest first.

    Raises:
        VirError: why a step failed; everything before it is undone.
    """
    async with AsyncExitStack() as rollback:
        for step in steps:
            rollback.push_async_callback(undo, step)  # undoing a step that was not done is no error
            await do(step)
        rollback.pop_all()


async def ignore_errno(number: int, request: Awaitable[None]) -> None:
    """Await a request; this errno means that it was done before."""
    try:
        await request
    except OSError as error:
        if error.errno != number:
            raise


def is_network_bridge(link: Link, mac: str) -> bool:
    """Return whether a bridge was created for a network, by its MAC address."""
    return link.kind == "bridge" and link.mac == mac.lower()


def describe_step(step: Step) -> str:
    """Describe a step for error messages."""
    match step:
        case steps.CreateBridge(bridge):
            return f"create bridge '{bridge}'"
        case steps.SetMtu(device, mtu):
            return f"set the MTU of '{device}' to {mtu}"
        case steps.WriteSetting(key, value):
            return f"set {key} to {value}"
        case steps.Forward(family):
            return f"enable IP forwarding of IPv{family}"
        case steps.AddAddress(device, address, prefix):
            return f"add IP address {address}/{prefix} to '{device}'"
        case steps.SetUp(device):
            return f"bring '{device}' up"
        case _:
            return _describe_more(step)


def _describe_more(step: Step) -> str:
    match step:
        case steps.AddRoute(device, destination):
            return f"add the route to {destination} by '{device}'"
        case steps.LimitTraffic(device):
            return f"limit the traffic of '{device}'"
        case steps.InstallRules(facts):
            return f"install the packet filter rules of network '{facts.name}'"
        case steps.WriteDnsmasqConfig(config):
            return f"write the files of dnsmasq for network '{config.network}'"
        case steps.StartDnsmasq(config):
            return f"start dnsmasq for network '{config.network}'"
        case _:
            return str(step)
