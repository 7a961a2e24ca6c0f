"""Links, addresses, routes and neighbours of the kernel, over one rtnetlink socket.

Owns: that socket and the one thread that talks on it (a call may wait in the kernel for the lock of
all links, and must not hold up the event loop).
May touch: the links that callers name.

pyroute2 takes a quarter of a second to load, so it is loaded in the thread, when netd is up.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

REQUEST_S: Final = 10.0  # the longest that one request may take
NETLINK_BUFFER: Final = 1 << 20
UP: Final = 1  # IFF_UP
AF: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
MAIN_TABLE: Final = 254
SIOCGIFMTU: Final = 0x8921
IFREQ: Final = struct.Struct("16si20x")  # a link's name and a number
ANSWERED: Final = 0x02 | 0x04 | 0x08 | 0x10 | 0x80  # neighbours that were there: NUD_REACHABLE, …

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Link:
    """A network device."""

    name: str
    index: int
    mac: str
    mtu: int
    up: bool
    kind: str  # "bridge", "tun", "macvtap", "vlan", "bond", …; "" for hardware
    master: int  # the index of the bridge or bond it is a port of; 0: none
    parent: int  # the index of the device below it; 0: none
    vlan_tag: int = 0  # of a VLAN
    state: str = ""  # how the other end is: "up", "down", "lowerlayerdown", …
    stp: bool | None = None  # of a bridge
    delay: int = 0  # of a bridge, in hundredths of a second


@dataclass(frozen=True, slots=True)
class HostAddress:
    """An address of a device."""

    index: int
    address: str
    prefix: int
    family: int  # 4 or 6
    permanent: bool = True


@dataclass(frozen=True, slots=True)
class HostRoute:
    """A route of the main table."""

    family: int  # 4 or 6
    destination: str  # "" for the default route
    prefix: int
    gateway: str  # "" for none
    index: int  # of the device; 0: none
    metric: int = 0


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An entry of the ARP or NDP cache."""

    address: str
    mac: str
    index: int
    family: int


class Rtnetlink:
    """rtnetlink requests; each has a deadline and raises OSError with the kernel's errno."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="netlink")
        self._socket: Any = None

    async def open(self) -> None:
        """Load pyroute2 and open the socket before the first request."""
        await self._request(lambda ip: None)

    def close(self) -> None:
        """Close the socket without waiting for pending requests."""
        self._thread.submit(self._close)
        self._thread.shutdown(wait=False)

    # Looking.

    async def links(self) -> list[Link]:
        """List all links."""
        return await self._request(lambda ip: [_link(message) for message in ip.get_links()])

    async def find(self, name: str) -> Link | None:
        """Find a link by name."""

        def ask(ip: Any) -> Link | None:  # noqa: ANN401
            return _link(next(iter(ip.get_links(_index(name))))) if exists(name) else None

        return await self._request(ask)

    async def addresses(self) -> list[HostAddress]:
        """List the addresses of all links."""
        return await self._request(lambda ip: [_address(message) for message in ip.get_addr()])

    async def routes(self) -> list[HostRoute]:
        """List the routes of the main table."""

        def ask(ip: Any) -> list[HostRoute]:  # noqa: ANN401
            messages = [*ip.get_routes(family=AF[4]), *ip.get_routes(family=AF[6])]
            return [_route(message) for message in messages if message["table"] == MAIN_TABLE]

        return await self._request(ask)

    async def neighbours(self) -> list[Neighbour]:
        """List the reachable neighbours of all links."""

        def ask(ip: Any) -> list[Neighbour]:  # noqa: ANN401
            messages = [*ip.get_neighbours(family=AF[4]), *ip.get_neighbours(family=AF[6])]
            return [_neighbour(message) for message in messages if message["state"] & ANSWERED]

        return await self._request(ask)

    # Links.

    async def add(self, name: str, kind: str, **options: object) -> None:
        """Create a link; the options are those of its kind in pyroute2."""
        await self._request(lambda ip: ip.link("add", ifname=name, kind=kind, **options))

    async def set_link(self, name: str, **options: object) -> None:
        """Set attributes of a link: `state`, `mtu`, `address`, `master` (an index, 0: none)."""
        await self._request(lambda ip: ip.link("set", index=_index(name), **options))

    async def set_port(self, name: str, **options: object) -> None:
        """Set bridge port attributes of a link: `isolated`, `learning`, …."""
        await self._request(lambda ip: ip.brport("set", index=_index(name), **options))

    async def delete(self, name: str) -> None:
        """Delete a link; a missing link is no error."""

        def ask(ip: Any) -> None:  # noqa: ANN401
            if exists(name):
                ip.link("del", index=_index(name))

        await self._request(ask)

    async def set_master(self, name: str, bridge: str) -> None:
        """Make a link a port of a bridge."""
        await self._request(lambda ip: ip.link("set", index=_index(name), master=_index(bridge)))

    async def attach_port(self, name: str, bridge: str, **options: object) -> None:
        """Make a link a port of a bridge and set its attributes, in one request.

        Args:
            name: the link's.
            bridge: the bridge's name.
            options: as of `set_link`; without `mtu` the link gets the bridge's.
        """

        def ask(ip: Any) -> None:  # noqa: ANN401
            master = _index(bridge)
            size = options.get("mtu") or _mtu(bridge)
            ip.link("set", index=_index(name), master=master, **{**options, "mtu": size})

        await self._request(ask)

    async def index(self, name: str) -> int:
        """Return the index of a link."""
        return await self._request(lambda ip: _index(name))

    # Addresses, routes, forwarding entries.

    async def add_address(self, name: str, address: str, prefix: int, broadcast: str = "") -> None:
        """Add an address to a link."""
        options: dict[str, object] = {"address": address, "prefixlen": prefix}
        if broadcast:
            options["broadcast"] = broadcast
        await self._request(lambda ip: ip.addr("add", index=_index(name), **options))

    async def delete_address(self, name: str, address: str, prefix: int) -> None:
        """Delete an address of a link."""
        await self._request(
            lambda ip: ip.addr("del", index=_index(name), address=address, prefixlen=prefix)
        )

    async def add_route(self, name: str, destination: str, gateway: str, metric: int) -> None:
        """Add a route to "ADDRESS/PREFIX" through a gateway on a link."""
        options: dict[str, object] = {"dst": destination, "priority": metric}
        if gateway:
            options["gateway"] = gateway
        await self._request(lambda ip: ip.route("add", oif=_index(name), proto=STATIC, **options))

    async def delete_route(self, name: str, destination: str, gateway: str, metric: int) -> None:
        """Delete a route."""
        options: dict[str, object] = {"dst": destination, "priority": metric}
        if gateway:
            options["gateway"] = gateway
        await self._request(lambda ip: ip.route("del", oif=_index(name), **options))

    async def set_forwarding_entry(self, name: str, mac: str, *, on: bool) -> None:
        """Add or delete a MAC address in the bridge's forwarding database."""
        verb = "append" if on else "del"
        await self._request(lambda ip: ip.fdb(verb, ifindex=_index(name), lladdr=mac))

    async def traffic(self, work: Callable[[Any, int], None], name: str) -> None:
        """Run tc requests on a link (`supervisor.netd.kernel.bandwidth`)."""
        await self._request(lambda ip: work(ip, _index(name)))

    # The thread.

    async def _request(self, work: Callable[[Any], R]) -> R:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(REQUEST_S):
            return await loop.run_in_executor(self._thread, self._run, work)

    def _run(self, work: Callable[[Any], R]) -> R:
        from pyroute2.iproute.linux import IPRoute
        from pyroute2.netlink.exceptions import NetlinkError

        try:
            if self._socket is None:
                self._socket = IPRoute()
            drop_unclaimed(self._socket)
            return work(self._socket)
        except NetlinkError as refusal:
            number = int(refusal.code)
            raise OSError(number, os.strerror(number)) from refusal

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def drop_unclaimed(ip: Any) -> None:  # noqa: ANN401
    """Drop the messages that no request waits for, which pyroute2 0.9 keeps for ever.

    The kernel acknowledges a request for one link after its answer, with which pyroute2 ends the
    wait. Each acknowledgement is small, but was received into a buffer of 256 KiB and keeps a
    hole in the heap open: 3 KiB for each network that was started.
    """
    messages = getattr(getattr(ip, "asyncore", None), "msg_queue", None)
    if messages is not None:
        while not messages.root.empty():
            messages.root.get_nowait()


STATIC: Final = 4  # RTPROT_STATIC


def exists(name: str) -> bool:
    """Return whether a link exists, without rtnetlink."""
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True


def _index(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError:
        raise OSError(errno.ENODEV, f"there is no device '{name}'", name) from None


def _mtu(name: str) -> int:
    """Read a link's MTU by ioctl, which does not wait for the RTNL lock."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        answer = fcntl.ioctl(asking, SIOCGIFMTU, IFREQ.pack(name.encode(), 0))
    return int(IFREQ.unpack(answer)[1])


def _link(message: Any) -> Link:  # noqa: ANN401
    information = message.get_attr("IFLA_LINKINFO")
    kind = information.get_attr("IFLA_INFO_KIND") if information is not None else None
    return Link(
        name=str(message.get_attr("IFLA_IFNAME")),
        index=int(message["index"]),
        mac=str(message.get_attr("IFLA_ADDRESS") or ""),
        mtu=int(message.get_attr("IFLA_MTU") or 0),
        up=bool(message["flags"] & UP),
        kind=str(kind or ""),
        master=int(message.get_attr("IFLA_MASTER") or 0),
        parent=int(message.get_attr("IFLA_LINK") or 0),
        vlan_tag=int(_link_data(information, "IFLA_VLAN_ID") or 0) if kind == "vlan" else 0,
        state=str(message.get_attr("IFLA_OPERSTATE") or "").lower(),
        stp=bool(_link_data(information, "IFLA_BR_STP_STATE")) if kind == "bridge" else None,
        delay=int(_link_data(information, "IFLA_BR_FORWARD_DELAY") or 0) if kind == "bridge" else 0,
    )


def _link_data(information: Any, name: str) -> Any:  # noqa: ANN401
    """Read a kind-specific attribute (IFLA_INFO_DATA)."""
    data = information.get_attr("IFLA_INFO_DATA")
    return data.get_attr(name) if data is not None else None


PERMANENT: Final = 0x80  # IFA_F_PERMANENT


def _address(message: Any) -> HostAddress:  # noqa: ANN401
    address = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    flags = int(message.get_attr("IFA_FLAGS") or message["flags"])
    return HostAddress(
        index=int(message["index"]),
        address=str(address),
        prefix=int(message["prefixlen"]),
        family=6 if message["family"] == AF[6] else 4,
        permanent=bool(flags & PERMANENT),
    )


def _route(message: Any) -> HostRoute:  # noqa: ANN401
    return HostRoute(
        family=6 if message["family"] == AF[6] else 4,
        destination=str(message.get_attr("RTA_DST") or ""),
        prefix=int(message["dst_len"]),
        gateway=str(message.get_attr("RTA_GATEWAY") or ""),
        index=int(message.get_attr("RTA_OIF") or 0),
        metric=int(message.get_attr("RTA_PRIORITY") or 0),
    )


def _neighbour(message: Any) -> Neighbour:  # noqa: ANN401
    return Neighbour(
        address=str(message.get_attr("NDA_DST") or ""),
        mac=str(message.get_attr("NDA_LLADDR") or "").lower(),
        index=int(message["ifindex"]),
        family=6 if message["family"] == AF[6] else 4,
    )
