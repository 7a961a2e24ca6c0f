"""Connectivity of each forward mode, with the rules of both firewall backends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Final

import pytest

from supervisor.netd.firewall import Firewall, ForwardMode, NatRange, NetworkFacts
from supervisor.netd.firewall.iptables import Iptables
from supervisor.netd.firewall.nftables import Nftables
from supervisor.netd.firewall.xtables import LegacyTables
from tests.clients.namespace import own_network, shown
from tests.clients.network_host import Neighbour
from tests.python_iptables import NEEDED

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("ip", "iptables", "nft"))),
    reason="needs root, iproute2, iptables and nftables",
)

FACTS: Final = NetworkFacts(
    name="one",
    bridge="vvone",
    mode=ForwardMode.NAT,
    subnets=(IPv4Network("192.168.122.0/24"), IPv6Network("fd00:1::/64")),
    nat=NatRange(ipv6=True),
    dhcp4=True,
)
OTHER: Final = replace(
    FACTS, name="two", bridge="vvtwo", subnets=(IPv4Network("192.168.123.0/24"),)
)
HOST: Final = "192.168.122.1"
GUEST, TWIN, STRANGER, OUTSIDE = "192.168.122.2", "192.168.122.3", "192.168.123.2", "10.9.0.2"
GUEST6, OUTSIDE6 = "fd00:1::2", "fd00:9::2"


@dataclass
class Place:
    """A host with two networks and an outside, and a machine or two on each."""

    guest: Neighbour
    twin: Neighbour
    stranger: Neighbour
    outside: Neighbour
    #: The firewall; another one for each event loop, to which its child processes belong.
    firewall: Callable[[], AbstractAsyncContextManager[Firewall]]

    def put_in(self, *networks: NetworkFacts) -> None:
        async def all_of_them() -> None:
            async with self.firewall() as firewall:
                for facts in networks:
                    await firewall.install(facts)

        asyncio.run(all_of_them())


def bridge(name: str, *addresses: str) -> None:
    shown("ip", "link", "add", name, "type", "bridge", "forward_delay", "0")
    for address in addresses:
        shown("ip", "addr", "add", address, "dev", name, "nodad")
    shown("ip", "link", "set", name, "up")


def settle(machine: Neighbour, router: str, *addresses: str) -> None:
    for address in addresses:
        machine.run("ip", "addr", "add", address, "dev", "inside", "nodad")
    if router:
        machine.run("ip", "route", "add", "default", "via", router)


@contextlib.asynccontextmanager
async def programs() -> AsyncIterator[Firewall]:
    """iptables-restore and its like."""
    yield Firewall(Iptables())


@contextlib.asynccontextmanager
async def nftables() -> AsyncIterator[Firewall]:
    """nft."""
    yield Firewall(Nftables())


@contextlib.asynccontextmanager
async def legacy() -> AsyncIterator[Firewall]:
    """The tables of legacy iptables, by python-iptables."""
    tables = LegacyTables()
    try:
        yield Firewall(Iptables(tables))
    finally:
        await tables.close()


@pytest.fixture(params=[programs, nftables, pytest.param(legacy, marks=NEEDED)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param is legacy and shutil.which("iptables-legacy") is None:
        pytest.skip("needs iptables-legacy")
    with own_network():
        shown("ip", "link", "set", "lo", "up")
        bridge("vvone", f"{HOST}/24", "fd00:1::1/64")
        bridge("vvtwo", "192.168.123.1/24")
        bridge("vvout", "10.9.0.1/24", "fd00:9::1/64")
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
        with (
            Neighbour(tmp_path, "vvone", "52:54:00:00:01:02", "guest") as guest,
            Neighbour(tmp_path, "vvone", "52:54:00:00:01:03", "twin") as twin,
            Neighbour(tmp_path, "vvtwo", "52:54:00:00:02:02", "other") as stranger,
            Neighbour(tmp_path, "vvout", "52:54:00:00:09:02", "out") as outside,
        ):
            settle(guest, HOST, f"{GUEST}/24", f"{GUEST6}/64")
            guest.run("ip", "-6", "route", "add", "default", "via", "fd00:1::1")
            settle(twin, HOST, f"{TWIN}/24")
            settle(stranger, "192.168.123.1", f"{STRANGER}/24")
            settle(outside, "", f"{OUTSIDE}/24", f"{OUTSIDE6}/64")
            yield Place(guest, twin, stranger, outside, request.param)


def way_back(place: Place) -> None:
    """The outside learns where the guests are: without translation it has to."""
    place.outside.run("ip", "route", "add", "192.168.122.0/24", "via", "10.9.0.1")


def test_nat_forwards_outgoing_connections_only(place: Place) -> None:
    assert not place.guest.reaches(OUTSIDE), "without translation no answer finds its way"
    place.put_in(FACTS, OTHER)
    assert place.guest.reaches(OUTSIDE)
    assert place.guest.reaches(OUTSIDE6)
    assert place.guest.reaches(HOST)
    assert place.guest.reaches(TWIN)
    assert not place.guest.reaches(STRANGER)
    way_back(place)
    assert not place.outside.reaches(GUEST)


def test_routed_network_is_reachable_from_outside(place: Place) -> None:
    way_back(place)
    place.put_in(replace(FACTS, mode=ForwardMode.ROUTE), OTHER)
    assert place.guest.reaches(OUTSIDE)
    assert place.outside.reaches(GUEST)
    assert place.twin.reaches(GUEST)


def test_isolated_network_is_not_reachable(place: Place) -> None:
    way_back(place)
    assert place.guest.reaches(OUTSIDE)
    place.put_in(replace(FACTS, mode=ForwardMode.ISOLATED))
    assert not place.guest.reaches(OUTSIDE)
    assert not place.outside.reaches(GUEST)
    assert place.guest.reaches(HOST)
    assert place.guest.reaches(TWIN)


def test_open_network_has_no_rules_of_ours(place: Place) -> None:
    way_back(place)
    place.put_in(replace(FACTS, mode=ForwardMode.OPEN))
    assert place.guest.reaches(OUTSIDE)
    assert place.outside.reaches(GUEST)


def test_forward_dev_is_the_only_way_out(place: Place) -> None:
    place.put_in(replace(FACTS, dev="vvtwo"))
    assert not place.guest.reaches(OUTSIDE)
    place.put_in(replace(FACTS, dev="vvout"))
    assert place.guest.reaches(OUTSIDE)


def test_traffic_continues_while_rules_are_refreshed(place: Place) -> None:
    place.put_in(FACTS)
    assert place.guest.reaches(OUTSIDE)
    asyncio.run(again_and_again(place))


async def again_and_again(place: Place) -> None:
    """Echoes 20 ms apart, all answered, while rules come again 20 times."""
    busybox = shutil.which("busybox") or "busybox"
    echoes = asyncio.create_task(
        asyncio.to_thread(
            place.guest.run, busybox, "ping", "-c", "40", "-i", "0.02", "-W", "2", OUTSIDE
        )
    )
    async with place.firewall() as firewall:
        for number in range(20):
            ports = replace(FACTS.nat, last_port=60000 + number)
            await firewall.refresh(replace(FACTS, nat=ports))
    assert " 0% packet loss" in await echoes
