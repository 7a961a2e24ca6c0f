"""Floors: the part of a network's inbound bandwidth that is reserved for one port.

Owns: which port has which class of its bridge's traffic. The checks are pure.
May touch: classes and filters of networks' bridges.
Source: libvirt 9.0 formatdomain, "Quality of service"; as stock, a port with a floor has a class
below 1:1 of its bridge, and the other ports' class 1:2 has what is left.
"""

from __future__ import annotations

import errno
from typing import Any, Final

from conf.network import Network, NetworkPort
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.service_errors import NETWORK_ERRORS
from supervisor.netd.kernel import mac_filter
from supervisor.netd.kernel.bandwidth import (
    RateLimit,
    TcCommand,
    rate_limits,
    release_commands,
    reserve_commands,
    run_commands,
)
from supervisor.netd.kernel.netlink import Rtnetlink
from supervisor.netd.network.network import NetworkRuntime, bridge_of
from supervisor.netd.ports.interface_xml import KernelErrors

FIRST_CLASS: Final = 3  # 1:1 is of all traffic, 1:2 of the ports without a floor


class Floors:
    """The reserved bandwidth of all networks' ports."""

    def __init__(self, links: Rtnetlink) -> None:
        self._links = links

    async def reserve(self, running: NetworkRuntime, port: NetworkPort) -> None:
        """Reserve a new port's floor, if it has one, and note its class at the port.

        Raises:
            VirError: OPERATION_UNSUPPORTED: the network has no inbound limit; OPERATION_INVALID:
                there is not as much left; SYSTEM_ERROR.
        """
        floor = floor_of(port)
        if not floor or port.bandwidth is None:
            return
        taken = running.floor_sum
        limit = check_floor(running.network, port, taken + floor)
        number = free_class(running.classes)
        # The average stays the network's limit: htb gives a class its rate even where its parent
        # has none left.
        orders = reserve_commands(limit, number, floor, max(limit.average - taken - floor, 0))
        bridge, mac = bridge_of(running.network), port.mac or ""

        def work(ip: Any, index: int) -> None:  # noqa: ANN401  (pyroute2 has no types)
            run_commands(ip, index, orders)
            mac_filter.send(mac_filter.add_message(index, number, mac))

        with KernelErrors(f"cannot reserve bandwidth of '{bridge}'"):
            try:
                await self._links.traffic(work, bridge)
            except BaseException:
                rest = max(limit.average - taken, 0)
                await self._undo(bridge, number, release_commands(limit, number, rest))
                raise
        port.bandwidth.class_id = number

    async def release(self, running: NetworkRuntime, port: NetworkPort) -> None:
        """Give the floor of a port that is no longer the network's back to the others.

        Raises:
            OSError: the kernel refuses.
        """
        number = port.bandwidth.class_id if port.bandwidth is not None else None
        limit = inbound(running.network)
        if port.bandwidth is None or not number or limit is None:
            return
        port.bandwidth.class_id = None
        rest = max(limit.average - running.floor_sum, 0)
        orders = release_commands(limit, number, rest)
        await self._undo(bridge_of(running.network), number, orders)

    async def _undo(self, bridge: str, number: int, orders: list[TcCommand]) -> None:
        def work(ip: Any, index: int) -> None:  # noqa: ANN401  (pyroute2 has no types)
            try:
                mac_filter.send(mac_filter.delete_message(index, number))
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.EINVAL):  # there is none
                    raise
            run_commands(ip, index, orders, removing=True)

        await self._links.traffic(work, bridge)


def floor_of(port: NetworkPort) -> int:
    """Return a port's floor in kilobytes a second; 0: it has none."""
    rate = port.bandwidth.inbound if port.bandwidth is not None else None
    return (rate.floor or 0) if rate is not None else 0


def inbound(network: Network) -> RateLimit | None:
    """Return a network's limit of what its guests receive."""
    limits = rate_limits(network.bandwidth)
    return limits.inbound if limits is not None and limits.inbound is not None else None


def free_class(taken: set[int]) -> int:
    """Return the lowest number of a class that no port has."""
    numbers = range(FIRST_CLASS, FIRST_CLASS + len(taken) + 1)
    return next(number for number in numbers if number not in taken)


def check_floor(network: Network, port: NetworkPort, total: int) -> RateLimit:
    """Refuse a floor that the network cannot reserve; return the network's inbound limit.

    Args:
        network: of the port.
        port: the new one.
        total: the sum of all floors, the new port's included.

    Raises:
        VirError: OPERATION_UNSUPPORTED: the network has no inbound limit; OPERATION_INVALID.
    """
    limit = inbound(network)
    if limit is None or not limit.average:
        detail = (
            f"Invalid use of 'floor' on interface with MAC address {port.mac} - network "
            f"'{network.name}' has no inbound QoS set"
        )
        raise VirError(ErrorCode.OPERATION_UNSUPPORTED, detail, ErrorDomain.NETWORK)
    which, most = ("peak", limit.peak) if limit.peak else ("average", limit.average)
    if total > most:
        raise NETWORK_ERRORS.operation_invalid(
            f"Cannot plug '{port.mac}' interface into '{bridge_of(network)}' because new combined "
            f"inbound floor={total} would overcommit {which}={most} on network '{network.name}'"
        )
    return limit
