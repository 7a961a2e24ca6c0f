"""The host devices of guests' interfaces: taps, macvtaps, veth pairs and macvlans.

Owns: taps and macvtaps, and containers' veth pairs and macvlans.
May touch: links, /dev/net/tun and settings of the kernel, each through its
module. May not touch: the records of ports (`supervisor.netd.ports.ports`).
"""

from __future__ import annotations

import asyncio
import errno
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from conf.domain.devices.interface import Interface
from conf.types.bandwidth import Bandwidth
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.service_errors import NETWORK_ERRORS
from supervisor.messages.netd import AttachPort
from supervisor.netd.kernel import taps
from supervisor.netd.kernel.bandwidth import (
    rate_limits,
    removal_commands,
    run_commands,
    tc_commands,
)
from supervisor.netd.kernel.netlink import Rtnetlink, exists
from supervisor.netd.kernel.sysctl import Sysctl
from supervisor.netd.ports.interface_xml import KernelErrors
from supervisor.netd.ports.plan import PortPlan
from supervisor.netd.ports.records import GENERATED, NAME, PortRecords

MACVLAN_PREFIX: Final = "macvlan"
LONGEST: Final = 15  # bytes of a device's name
NAMES: Final = 64  # names that are tried before giving up
UP: Final[dict[str, object]] = {"state": "up"}


@dataclass(slots=True)
class OpenedTap:
    """A device that was created, with its descriptors."""

    name: str
    taps: list[int]
    vhosts: list[int]
    kind: str = "tap"
    peer: str = ""  # the end that is moved into a container


class PortDevices:
    """Creates devices, attaches them to bridges, limits their bandwidth."""

    def __init__(self, links: Rtnetlink, sysctl: Sysctl, records: PortRecords) -> None:
        self._links = links
        self._sysctl = sysctl
        self._records = records

    async def open(
        self,
        request: AttachPort,
        interface: Interface,
        plan: PortPlan,
        rollback: AsyncExitStack,
    ) -> OpenedTap:
        """Create the device and open its descriptors."""
        requested = request.tap or interface.target_dev or ""
        if GENERATED.fullmatch(requested) and not request.tap:
            requested = ""  # generated earlier, in live XML that a client defined again
        if requested and not NAME.fullmatch(requested):
            detail = (
                f"'{requested}' cannot name a network device: 15 bytes at most, no space, no '/'"
            )
            raise VirError(ErrorCode.XML_ERROR, detail, ErrorDomain.NETWORK)
        prefix = plan.prefix
        if request.container and plan.is_direct:
            check_visible(interface, plan)
            prefix = MACVLAN_PREFIX
        for _ in range(1 if requested else NAMES):
            name = requested or self._records.next_name(prefix)
            try:
                opened = await self._open_named(name, request, interface, plan)
            except OSError as error:
                if not requested and error.errno in (errno.EEXIST, errno.EBUSY):
                    continue
                action = f"Unable to create tap device {name}"
                raise NETWORK_ERRORS.system_error(action, error) from error
            rollback.push_async_callback(self.close, opened)
            if opened.kind != "tap":
                rollback.push_async_callback(self._links.delete, name)
            return opened
        detail = f"{NAMES} names for a tap device were all taken"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NETWORK)

    async def _open_named(
        self, name: str, request: AttachPort, interface: Interface, plan: PortPlan
    ) -> OpenedTap:
        if request.container:
            return await self._add_for_container(name, interface, plan)
        if not plan.is_direct:
            if exists(name) and interface.managed_target is not False:
                raise FileExistsError(errno.EEXIST, "there is a device of that name", name)
            return await asyncio.to_thread(_open_tap, name, request)
        fds = await self._open_macvtap(name, request.queues, interface, plan)
        vhosts = await asyncio.to_thread(_open_vhosts, request, fds)
        return OpenedTap(name, fds, vhosts, "macvtap")

    async def _add_for_container(
        self, name: str, interface: Interface, plan: PortPlan
    ) -> OpenedTap:
        """Create a veth pair or macvlan for a container's network namespace."""
        size = interface.mtu or plan.mtu
        options: dict[str, object] = {"mtu": size} if size else {}
        if plan.is_direct:
            await self._add_direct(name, "macvlan", interface, plan)
            try:
                if options:
                    await self._links.set_link(name, **options)
            except BaseException:
                await self._links.delete(name)
                raise
            return OpenedTap(name, [], [], "macvlan", name)
        peer = {"ifname": peer_name(name), "address": interface.mac, **options}
        await self._links.add(name, "veth", peer=peer)
        return OpenedTap(name, [], [], "veth", peer_name(name))

    async def _add_direct(self, name: str, kind: str, interface: Interface, plan: PortPlan) -> None:
        """Create a macvtap or macvlan on a device of the host.

        Where that is all the guest's, it is made with the host's address and both are given the
        guest's; the kernel gives the host's device its own back in the end.
        """
        lower = await self._links.index(plan.device)
        through = plan.mode == "passthrough"
        mode: dict[str, object] = {f"{kind}_mode": "passthru" if through else plan.mode}
        await self._links.add(name, kind, link=lower, address=interface.mac, **mode)
        if not through:
            return
        try:
            await self._links.set_link(name, address=interface.mac)
        except BaseException:
            await self._links.delete(name)
            raise

    async def _open_macvtap(
        self, name: str, queues: int, interface: Interface, plan: PortPlan
    ) -> list[int]:
        await self._add_direct(name, "macvtap", interface, plan)
        try:
            await self._links.set_link(name, state="up")
            index = await self._links.index(name)
            return await asyncio.to_thread(taps.open_macvtap, index, queues=queues)
        except BaseException:
            await self._links.delete(name)
            raise

    async def close(self, opened: OpenedTap) -> None:
        """Close the descriptors; the kernel deletes a tap with them."""
        for fd in (*opened.taps, *opened.vhosts):
            os.close(fd)

    async def attach(self, name: str, interface: Interface, plan: PortPlan) -> None:
        """Attach the device to its bridge, set its attributes and bring it up.

        A switch that has programs of its own gets it later, by those.
        """
        with KernelErrors(f"cannot attach '{name}'"):
            if plan.is_direct:
                await self.set_bandwidth(name, plan.bandwidth)
                return
            up = interface.link_state != "down"
            options: dict[str, object] = {"address": host_mac(interface.mac or "")}
            if plan.bridge and not plan.is_switched:
                await self.set_master(name, interface, plan, **options, **(UP if up else {}))
            else:
                if interface.mtu or plan.mtu:
                    options["mtu"] = interface.mtu or plan.mtu
                await self._links.set_link(name, **options, **(UP if up else {}))
            if rate_limits(plan.bandwidth) is not None:
                await self.set_bandwidth(name, plan.bandwidth)

    async def set_master(
        self, name: str, interface: Interface, plan: PortPlan, **options: object
    ) -> None:
        """Make a tap a port of its bridge and set its attributes."""
        key = f"ipv6/conf/{name}/disable_ipv6"  # the host has no address of its own on a tap
        await asyncio.to_thread(self._sysctl.write_if_present, key, "1")
        if interface.mtu or plan.mtu:
            options["mtu"] = interface.mtu or plan.mtu
        await self._links.attach_port(name, plan.bridge, **options)
        if plan.isolated:
            await self._links.set_port(name, isolated=1)
        if not plan.learns:
            await self._links.set_port(name, learning=0, unicast_flood=0)
            await self._links.set_forwarding_entry(name, interface.mac or "", on=True)

    async def set_bandwidth(self, name: str, bandwidth: Bandwidth | None) -> None:
        """Replace the bandwidth limits of a device."""
        await self._links.traffic(
            lambda ip, index: run_commands(ip, index, removal_commands(), removing=True), name
        )
        limits = rate_limits(bandwidth)
        if limits is not None:
            orders = tc_commands(limits, shared=False)
            await self._links.traffic(lambda ip, index: run_commands(ip, index, orders), name)


def _open_tap(name: str, request: AttachPort) -> OpenedTap:
    fds = taps.open_tap(name, queues=request.queues, user=request.user)
    return OpenedTap(name, fds, _open_vhosts(request, fds))


def _open_vhosts(request: AttachPort, beside: list[int]) -> list[int]:
    """Open vhost-net for each queue if requested; on failure close the given descriptors."""
    try:
        return taps.open_vhost(request.queues) if request.vhost else []
    except BaseException:
        for fd in beside:
            os.close(fd)
        raise


def peer_name(name: str) -> str:
    """Name the peer of a veth pair until it is moved into its container."""
    return f"{name[: LONGEST - 1]}p" if len(name) < LONGEST else f"p{name[: LONGEST - 1]}"


def check_visible(interface: Interface, plan: PortPlan) -> None:
    """Refuse settings that the host cannot apply to a device inside a container.

    Raises:
        VirError: CONFIG_UNSUPPORTED.
    """
    for tag, setting in (("bandwidth", plan.bandwidth), ("filterref", interface.filterref)):
        if setting is not None:
            detail = (
                f"<{tag}> is not supported for a container's direct interface, which is in the "
                "container's network namespace; use a bridge, or leave it out"
            )
            raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.NETWORK)


def host_mac(mac: str) -> str:
    """Return the tap's MAC address; fe:… keeps a bridge, which takes the lowest, from using it."""
    return f"fe{mac[2:]}" if mac else ""
