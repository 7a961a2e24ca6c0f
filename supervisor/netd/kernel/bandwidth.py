"""Bandwidth limits of a device as tc queueing disciplines, classes and filters.

Owns: the layout (HTB towards the guests, policing of what comes from them), and giving the orders.
May touch: queueing disciplines of the device it is given. The layout is pure.
Source: libvirt 9.0 formatnetwork, "Quality of service"; the layout is the one `tc` shows on stock
hosts: htb 1: with class 1:1 (below it, for a network, 1:2 of all its interfaces), ingress ffff:.
"""

from __future__ import annotations

import errno
import logging
from dataclasses import dataclass
from typing import Any, Final

from conf.types.bandwidth import Bandwidth, Rate

KILO: Final = 1000  # a rate's kilobyte
KIBI: Final = 1024  # a burst's
ALL_PROTOCOLS: Final = 0x0003
ROOT: Final = 0x10000  # 1:
SHARED: Final = 0x10001  # 1:1
DEFAULT: Final = 0x10002  # 1:2
INGRESS: Final = 0xFFFF0000
POLICE_MTU: Final = 64 * 1024 - 1

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """<inbound> or <outbound>."""

    average: int  # kilobytes a second; 0: only `floor` is set
    peak: int = 0  # kilobytes a second; 0: no more than the average
    burst: int = 0  # kibibytes at peak speed; 0: as the kernel chooses
    floor: int = 0  # kilobytes a second that are guaranteed for this interface


@dataclass(frozen=True, slots=True)
class RateLimits:
    """<bandwidth>; the directions are the guest's."""

    inbound: RateLimit | None = None
    outbound: RateLimit | None = None


@dataclass(frozen=True, slots=True)
class TcCommand:
    """One tc request."""

    verb: str  # pyroute2's: "add", "add-class", "add-filter", "del", …
    kind: str
    options: tuple[tuple[str, object], ...]
    optional: bool = False  # a kernel without this kind does without


def rate_limits(bandwidth: Bandwidth | None) -> RateLimits | None:
    """Convert a <bandwidth>; None: it sets no limit."""
    if bandwidth is None or (bandwidth.inbound is None and bandwidth.outbound is None):
        return None
    return RateLimits(_rate_limit(bandwidth.inbound), _rate_limit(bandwidth.outbound))


def _rate_limit(rate: Rate | None) -> RateLimit | None:
    if rate is None:
        return None
    return RateLimit(
        average=rate.average or 0,
        peak=rate.peak or 0,
        burst=rate.burst or 0,
        floor=rate.floor or 0,
    )


def tc_command(verb: str, kind: str, **options: int | str | list[str]) -> TcCommand:
    """Build a tc request."""
    return TcCommand(verb, kind, tuple(options.items()), optional=kind == "sfq")


def tc_commands(limits: RateLimits, *, shared: bool) -> list[TcCommand]:
    """Plan the limits of a tap or bridge: the guest's inbound traffic is the device's egress.

    Args:
        limits: both directions.
        shared: the device is a network's bridge, whose ports may have floors of their own.
    """
    commands: list[TcCommand] = []
    if limits.inbound is not None and limits.inbound.average:
        commands += _htb(limits.inbound, shared=shared)
    if limits.outbound is not None and limits.outbound.average:
        commands += _police(limits.outbound)
    return commands


def removal_commands() -> list[TcCommand]:
    """List the requests that remove every limit of a device."""
    # The root discipline takes its classes and the leaf disciplines with it.
    return [
        tc_command("del", "htb", handle=ROOT),
        tc_command("del", "ingress", handle=INGRESS),
    ]


def _htb(limit: RateLimit, *, shared: bool) -> list[TcCommand]:
    # htb shapes egress only. Classes 1:1 and 1:2 are libvirt's: ports with a floor of their own
    # get further classes below 1:1, all other traffic is in 1:2.
    ceil = limit.peak or limit.average
    rates: dict[str, int] = {"rate": limit.average * KILO, "ceil": ceil * KILO}
    if limit.burst:
        rates["burst"] = limit.burst * KIBI
    last = DEFAULT if shared else SHARED
    commands = [
        tc_command("add", "htb", handle=ROOT, default=last & 0xFFFF),
        tc_command("add-class", "htb", handle=SHARED, parent=ROOT, **rates),
    ]
    if shared:
        commands.append(tc_command("add-class", "htb", handle=DEFAULT, parent=SHARED, **rates))
    commands.append(tc_command("add", "sfq", handle=0x20000, parent=last, perturb=10))
    return commands


def reserve_commands(limit: RateLimit, class_id: int, floor: int, rest: int) -> list[TcCommand]:
    """Plan the class of a port with a floor, on its network's bridge.

    Args:
        limit: the network's inbound one.
        class_id: of the port.
        floor: its own, in kilobytes a second.
        rest: what all floors leave to the ports without one.
    """
    parent = ROOT | class_id
    ceil = (limit.peak or limit.average) * KILO
    return [
        tc_command("add-class", "htb", handle=parent, parent=SHARED, rate=floor * KILO, ceil=ceil),
        tc_command("add", "sfq", handle=class_id << 16, parent=parent, perturb=10),
        rest_command(limit, rest),
    ]


def release_commands(limit: RateLimit, class_id: int, rest: int) -> list[TcCommand]:
    """Plan the end of a port's class; its filter is gone, or the kernel would keep it."""
    # pyroute2 encodes a rate for a deletion, too; the kernel does not look at it.
    options = {"handle": ROOT | class_id, "parent": SHARED, "rate": KILO, "ceil": KILO}
    return [tc_command("del-class", "htb", **options), rest_command(limit, rest)]


def rest_command(limit: RateLimit, rest: int) -> TcCommand:
    """Give the ports without a floor what is left; htb has no rate of 0."""
    rates = {"rate": max(rest, 1) * KILO, "ceil": (limit.peak or limit.average) * KILO}
    return tc_command("change-class", "htb", handle=DEFAULT, parent=SHARED, **rates)


def _police(limit: RateLimit) -> list[TcCommand]:
    # The kernel cannot queue ingress traffic: packets above the rate are dropped.
    return [
        tc_command("add", "ingress", handle=INGRESS),
        tc_command(
            "add-filter",
            "u32",
            parent=INGRESS,
            prio=49,
            protocol=ALL_PROTOCOLS,
            target=0x1,
            keys=["0x0/0x0+0"],
            rate=limit.average * KILO,
            burst=(limit.burst or limit.average) * KIBI,
            mtu=POLICE_MTU,
            action="drop",
        ),
    ]


def run_commands(ip: Any, index: int, commands: list[TcCommand], *, removing: bool = False) -> None:  # noqa: ANN401
    """Run tc requests in order.

    Args:
        ip: the netlink socket, of `supervisor.netd.kernel.netlink`.
        index: of the device.
        commands: in order.
        removing: a missing discipline is no error.

    Raises:
        OSError: the kernel refuses; ENOENT: it has no such discipline or classifier.
    """
    for command in commands:
        try:
            ip.tc(command.verb, command.kind, index, **dict(command.options))
        except Exception as error:
            number = getattr(error, "code", None)
            if not isinstance(number, int):
                raise
            if removing and number in (errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP):
                continue
            if command.optional and number == errno.ENOENT:
                log.info("this kernel has no %s: traffic is limited without it", command.kind)
                continue
            detail = f"the kernel cannot do '{command.kind}', which limiting traffic needs"
            raise OSError(number, f"{detail} ({error})") from error
