"""Firewall rules of networks in the kernel, in a network namespace."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

import pytest

from rpc.errors import ErrorCode, VirError
from supervisor.netd.firewall import Firewall, ForwardMode, NatRange, NetworkFacts
from supervisor.netd.firewall.backend_choice import Backend, inspect, select
from supervisor.netd.firewall.firewall import Executor
from supervisor.netd.firewall.iptables import Iptables
from supervisor.netd.firewall.nftables import Nftables
from tests.clients.namespace import own_network, shown

pytestmark = pytest.mark.skipif(
    shutil.which("nft") is None or shutil.which("iptables") is None,
    reason="iptables and nft are needed (packages iptables, nftables)",
)

FACTS = NetworkFacts(
    name="default",
    bridge="virbr0",
    mode=ForwardMode.NAT,
    subnets=(IPv4Network("192.168.122.0/24"), IPv6Network("fd00:1::/64")),
    nat=NatRange(ipv6=True),
    dhcp4=True,
)
OTHER = replace(FACTS, name="other", bridge="virbr1", subnets=(IPv4Network("10.7.0.0/24"),))


@pytest.fixture(autouse=True)
def _namespace() -> Iterator[None]:
    with own_network():
        yield


def everything() -> str:
    """All rules of all kinds, without counters."""
    return "".join(
        line + "\n"
        for program in ("iptables-save", "ip6tables-save")
        for line in shown(program).splitlines()
        if line.startswith("-A")
    ) + shown("nft", "-s", "list", "ruleset")


def test_iptables_output_matches_stock_libvirt() -> None:
    asyncio.run(Firewall(Iptables()).install(FACTS))
    assert shown("iptables", "-S", "FORWARD").splitlines() == [
        "-P FORWARD ACCEPT",
        "-A FORWARD -j LIBVIRT_FWX",
        "-A FORWARD -j LIBVIRT_FWI",
        "-A FORWARD -j LIBVIRT_FWO",
    ]
    assert shown("iptables", "-t", "nat", "-S", "LIBVIRT_PRT").splitlines()[1:3] == [
        "-A LIBVIRT_PRT -s 192.168.122.0/24 -d 224.0.0.0/24 -j RETURN",
        "-A LIBVIRT_PRT -s 192.168.122.0/24 -d 255.255.255.255/32 -j RETURN",
    ]
    assert "--checksum-fill" in shown("iptables", "-t", "mangle", "-S", "LIBVIRT_PRT")


@pytest.mark.parametrize("executor", [Iptables(), Nftables()])
def test_install_is_idempotent(executor: Executor) -> None:
    async def twice() -> tuple[str, str]:
        await Firewall(executor).install(FACTS)
        first = everything()
        await Firewall(executor).install(FACTS)
        return first, everything()

    first, second = asyncio.run(twice())
    assert sorted(first.splitlines()) == sorted(second.splitlines())


@pytest.mark.parametrize("executor", [Iptables(), Nftables()])
def test_remove_leaves_nothing(executor: Executor) -> None:
    async def come_and_go() -> tuple[str, str]:
        firewall = Firewall(executor)
        await firewall.install(OTHER)
        before = everything()
        await firewall.install(FACTS)
        assert "virbr0" in everything()
        await firewall.remove(FACTS)
        await firewall.remove(FACTS)
        return before, everything()

    before, after = asyncio.run(come_and_go())
    assert "virbr0" not in after
    assert "192.168.122" not in after
    assert [line for line in before.splitlines() if "virbr1" in line] == [
        line for line in after.splitlines() if "virbr1" in line
    ]


def test_refresh_restores_a_flushed_chain() -> None:
    async def flushed() -> tuple[str, str]:
        firewall = Firewall(Iptables())
        await firewall.install(FACTS)
        before = everything()
        shown("iptables", "-F", "LIBVIRT_FWO")
        shown("iptables", "-D", "FORWARD", "-j", "LIBVIRT_FWX")
        assert everything() != before
        await firewall.refresh(FACTS, OTHER)
        await firewall.remove(OTHER)
        return before, everything()

    before, after = asyncio.run(flushed())
    assert [line for line in after.splitlines() if line.startswith("-A")] == [
        line for line in before.splitlines() if line.startswith("-A")
    ]


@pytest.mark.parametrize("executor", [Iptables(), Nftables()])
def test_failed_installation_leaves_nothing(executor: Executor) -> None:
    impossible = replace(FACTS, bridge="virbr0", dev="a-name-that-is-too-long-for-a-device")
    with pytest.raises(VirError, match="failed") as refused:
        asyncio.run(Firewall(executor).install(impossible))
    assert refused.value.code is ErrorCode.INTERNAL_ERROR
    assert "virbr0" not in everything()


def test_concurrent_networks_get_their_rules() -> None:
    networks = [
        replace(
            FACTS,
            name=f"n{number}",
            bridge=f"virbr{number}",
            subnets=(IPv4Network(f"10.9.{number}.0/24"),),
        )
        for number in range(20)
    ]

    async def all_of_them() -> None:
        firewall = Firewall(Iptables())
        async with asyncio.TaskGroup() as group:
            for facts in networks:
                group.create_task(firewall.install(facts))
        rules = everything()
        assert all(f"-i {facts.bridge} -o {facts.bridge} -j ACCEPT" in rules for facts in networks)
        async with asyncio.TaskGroup() as group:
            for facts in networks:
                group.create_task(firewall.remove(facts))

    asyncio.run(all_of_them())
    assert "virbr" not in everything()


def test_inspect_finds_installed_backends() -> None:
    empty = asyncio.run(inspect())
    assert (empty.iptables_rules, empty.nftables_rules) == (False, False)
    shown("nft", "add", "table", "inet", "mine")
    assert select(None, asyncio.run(inspect())) is Backend.NFTABLES
    shown("iptables", "-A", "INPUT", "-j", "ACCEPT")
    assert select(None, asyncio.run(inspect())) is Backend.IPTABLES
