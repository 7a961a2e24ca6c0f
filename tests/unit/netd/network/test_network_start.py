"""Plans of networks and interfaces, and the execution of steps."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network
from pathlib import Path

import pytest

from conf.domain.devices.interface import Interface
from conf.mapper import parse
from conf.network import parse_network
from rpc.errors import ErrorCode, VirError
from supervisor.netd.dnsmasq.config import plan_config
from supervisor.netd.dnsmasq.process import DnsmasqPaths
from supervisor.netd.kernel.bandwidth import RateLimit, RateLimits, tc_commands
from supervisor.netd.kernel.netlink import HostRoute
from supervisor.netd.network import steps
from supervisor.netd.network.plan import firewall_facts, plan_start
from supervisor.netd.network.route_conflicts import find_conflict
from supervisor.netd.network.step_executor import describe_step, run_steps
from supervisor.netd.network.steps import Step
from supervisor.netd.ports.plan import PortPlan, live_interface, plan_attach, plan_interface

NETWORK = parse_network(
    "<network ipv6='yes'><name>n</name><forward mode='nat'/>"
    "<bridge name='b0' stp='off' delay='2'/><mtu size='1400'/><mac address='52:54:00:00:00:01'/>"
    "<bandwidth><inbound average='1000' peak='2000' burst='64'/></bandwidth>"
    "<ip address='10.0.0.1' netmask='255.255.255.0'>"
    "<dhcp><range start='10.0.0.2' end='10.0.0.9'/></dhcp></ip>"
    "<ip family='ipv6' address='fd00::1' prefix='64'/>"
    "<route address='10.9.0.0' prefix='16' gateway='10.0.0.7'/></network>"
)


PATHS = DnsmasqPaths.for_network(Path("/d"), Path("/r"), "n", "b0")
DNSMASQ = plan_config(NETWORK, PATHS, user="")


def test_start_plan_order() -> None:
    facts = firewall_facts(NETWORK)
    assert facts is not None
    assert DNSMASQ is not None
    assert plan_start(NETWORK, DNSMASQ) == [
        steps.CreateBridge(bridge="b0", mac="52:54:00:00:00:01", stp=False, delay=200),
        steps.SetMtu("b0", 1400),
        steps.WriteSetting("ipv6/conf/b0/disable_ipv6", "0"),
        steps.WriteSetting("ipv6/conf/b0/accept_ra", "0"),
        steps.WriteSetting("ipv6/conf/b0/autoconf", "0"),
        steps.AddAddress("b0", "10.0.0.1", 24, "10.0.0.255"),
        steps.AddAddress("b0", "fd00::1", 64, ""),
        steps.InstallRules(facts),
        steps.SetUp("b0"),
        steps.AddRoute("b0", "10.9.0.0/16", "10.0.0.7", 1),
        steps.Forward(4),
        steps.Forward(6),
        steps.WriteDnsmasqConfig(DNSMASQ),
        steps.StartDnsmasq(DNSMASQ),
        steps.LimitTraffic("b0", RateLimits(RateLimit(1000, 2000, 64))),
    ]
    assert facts.dhcp4
    assert not facts.ipv6_blocked


def test_host_bridge_network_has_no_steps() -> None:
    bridged = "<network><name>n</name><forward mode='bridge'/><bridge name='br0'/></network>"
    assert plan_start(parse_network(bridged), None) == []


def test_failed_step_undoes_itself_and_previous_steps() -> None:
    plan = plan_start(NETWORK, DNSMASQ)
    for broken in range(len(plan)):
        done: list[Step] = []
        undone: list[Step] = []

        async def do(step: Step, broken: int = broken, done: list[Step] = done) -> None:
            if step is plan[broken]:
                raise VirError(ErrorCode.SYSTEM_ERROR, describe_step(step))
            done.append(step)

        async def undo(step: Step, undone: list[Step] = undone) -> None:
            undone.append(step)

        with pytest.raises(VirError):
            asyncio.run(run_steps(plan, do, undo))
        assert done == plan[:broken]
        assert undone == plan[broken::-1]


def test_cancelled_start_is_undone() -> None:
    undone: list[Step] = []

    async def undo(step: Step) -> None:
        undone.append(step)

    async def wait(step: Step) -> None:
        await asyncio.Event().wait()

    async def story() -> None:
        task = asyncio.ensure_future(run_steps(plan_start(NETWORK, DNSMASQ), wait, undo))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(story())
    assert undone == plan_start(NETWORK, DNSMASQ)[:1]


def test_only_an_equal_subnet_conflicts() -> None:
    wanted = [ip_network("10.0.0.0/24"), ip_network("fd00::/64")]
    wider = HostRoute(4, "10.0.0.0", 8, "", 2)
    default = HostRoute(4, "", 0, "10.0.0.254", 2)
    same = HostRoute(4, "10.0.0.0", 24, "", 3)
    assert find_conflict(wanted, [default, wider]) is None
    assert find_conflict(wanted, [default, same]) == (wanted[0], same)
    assert find_conflict(wanted, [HostRoute(6, "fd00::", 64, "", 4)]) is not None


def test_bandwidth_classes_of_networks_and_interfaces() -> None:
    limits = RateLimits(RateLimit(1000, 2000, 64), RateLimit(500))
    shared = [(order.verb, order.kind) for order in tc_commands(limits, shared=True)]
    alone = [(order.verb, order.kind) for order in tc_commands(limits, shared=False)]
    assert shared == [
        ("add", "htb"),
        ("add-class", "htb"),
        ("add-class", "htb"),
        ("add", "sfq"),
        ("add", "ingress"),
        ("add-filter", "u32"),
    ]
    assert alone == [shared[0], shared[1], *shared[3:]]
    assert tc_commands(RateLimits(inbound=RateLimit(0, floor=10)), shared=False) == []


def interface(xml: str) -> Interface:
    return parse(Interface, f"<interface {xml}</interface>")


def test_interface_gets_bridge_and_portgroup_bandwidth() -> None:
    network = parse_network(
        "<network><name>n</name><forward mode='nat'/><bridge name='b0'/><mtu size='1400'/>"
        "<portgroup name='slow' default='yes'><bandwidth><inbound average='10'/></bandwidth>"
        "</portgroup></network>"
    )
    asked = interface("type='network'><source network='n'/><mac address='52:54:00:00:00:09'/>")
    plugging = plan_attach(asked, network, {})
    assert (plugging.kind, plugging.bridge, plugging.mtu, plugging.group) == (
        "network", "b0", 1400, "slow",
    )  # fmt: skip
    live = live_interface(asked, plugging, "vnet3", "11111111-1111-1111-1111-111111111111")
    assert live.source is not None
    assert (live.type, live.target_dev, live.source.bridge) == ("network", "vnet3", "b0")
    assert live.bandwidth == plugging.bandwidth
    assert asked.target_dev is None, "what was asked for stays"


def test_direct_network_uses_the_least_used_device() -> None:
    network = parse_network(
        "<network><name>n</name><forward mode='{}'><interface dev='eth1'/>"
        "<interface dev='eth2'/></forward></network>".format("vepa")
    )
    asked = interface("type='network'><source network='n'/>")
    assert plan_attach(asked, network, {"eth1": 2, "eth2": 1}).device == "eth2"
    alone = parse_network(
        "<network><name>n</name><forward mode='passthrough'><interface dev='eth1'/></forward>"
        "</network>"
    )
    with pytest.raises(VirError, match="exclusive access"):
        plan_attach(asked, alone, {"eth1": 1})


@pytest.mark.parametrize(
    "xml",
    [
        "type='direct'><source dev='e'/><virtualport type='openvswitch'/>",
        "type='direct'><source dev='e' mode='vepa'/><virtualport type='802.1Qbg'>"
        "<parameters managerid='1' typeid='2' typeidversion='3'/></virtualport>",
        "type='bridge'><source bridge='b'/><vlan><tag id='5'/></vlan>",
        "type='hostdev'><source><address type='pci' bus='1' slot='2'/></source>",
    ],
)
def test_unsupported_interface_settings_are_refused(xml: str) -> None:
    with pytest.raises(VirError) as refused:
        plan_interface(interface(xml))
    assert refused.value.code is ErrorCode.CONFIG_UNSUPPORTED
    assert plan_interface(interface("type='ethernet'>")) == PortPlan(kind="ethernet")
