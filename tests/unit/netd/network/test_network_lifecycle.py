"""Networks: started, stopped, updated and recovered on a host in memory, with faults."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import UUID

import pytest

from conf.network import Network, format_network, parse_network
from rpc.enums import NetworkEventLifecycleType as Lifecycle
from rpc.errors import ErrorCode, VirError
from supervisor.netd.kernel.netlink import HostRoute
from supervisor.netd.network import recovery
from supervisor.netd.network.network import NetworkObject
from supervisor.netd.network.plan import plan_start
from supervisor.netd.network.registry import NETWORKS
from supervisor.netd.network.steps import Step
from tests.unit.netd.network.fake_host import FakeHost, FakeNetd

XML = """<network>
  <name>n</name>
  <uuid>11111111-2222-3333-4444-555555555555</uuid>
  <forward mode='nat'/>
  <bridge name='b0' stp='on' delay='0'/>
  <mtu size='1400'/>
  <mac address='52:54:00:00:00:01'/>
  <bandwidth><inbound average='1000'/></bandwidth>
  <ip address='10.0.0.1' netmask='255.255.255.0'>
    <dhcp><range start='10.0.0.2' end='10.0.0.9'/>{}</dhcp>
  </ip>
  <ip family='ipv6' address='fd00::1' prefix='64'/>
  <route address='10.9.0.0' prefix='16' gateway='10.0.0.7'/>
</network>"""
NETWORK = parse_network(XML.format(""))
STEPS = 15


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return FakeHost(tmp_path)


def defined(netd: FakeNetd, *, persistent: bool = True) -> NetworkObject:
    """The network in netd's registry, and on disk where it is persistent."""
    entry = NetworkObject(NETWORKS, name="n", uuid=UUID(str(NETWORK.uuid)).bytes)
    if persistent:
        entry.definition = NETWORK
        netd.store.save("n", format_network(NETWORK, inactive=True))
    netd.registry.add(entry)
    return entry


async def restarted(host: FakeHost) -> FakeNetd:
    """The next netd after one that was killed, when its recovery has ended."""
    netd = FakeNetd(host)
    await asyncio.gather(*recovering(netd))
    return netd


def recovering(netd: FakeNetd) -> list[asyncio.Task[None]]:
    """The tasks of the recovery of a netd that begins."""

    async def attach_guests(entry: NetworkObject) -> None:
        netd.reattached.append(entry.name)

    interrupted = recovery.load(netd.store, netd.registry)
    return recovery.recover(netd.registry, netd.networks, interrupted, attach_guests)


def plan(netd: FakeNetd) -> list[object]:
    return list(plan_start(NETWORK, netd.services.dnsmasq_config(NETWORK)))


async def started(host: FakeHost) -> tuple[FakeNetd, NetworkObject]:
    netd = FakeNetd(host)
    entry = defined(netd)
    await netd.networks.start(entry, NETWORK)
    return netd, entry


async def test_start_and_stop(host: FakeHost) -> None:
    netd, entry = await started(host)
    assert entry.is_active
    assert host.links.by_name["b0"].up
    assert netd.store.load_status()
    assert netd.bus.votes == [True]
    await netd.networks.stop(entry)
    assert host.leftovers() == []
    assert not netd.store.load_status()
    assert netd.bus.votes == [True, False]
    assert netd.bus.events == [Lifecycle.STARTED, Lifecycle.STOPPED]
    assert netd.hooks.operations == ["start", "started", "stopped"]
    assert entry in netd.registry


async def test_transient_network_is_removed_when_it_stops(host: FakeHost) -> None:
    netd = FakeNetd(host)
    entry = defined(netd, persistent=False)
    await netd.networks.start(entry, NETWORK)
    await netd.networks.stop(entry)
    assert list(netd.registry) == []


@pytest.mark.parametrize("broken", range(STEPS))
async def test_failed_step_undoes_the_start(host: FakeHost, broken: int) -> None:
    netd = FakeNetd(host)
    entry = defined(netd)
    assert len(plan(netd)) == STEPS
    netd.executor.broken = broken
    with pytest.raises(VirError, match="injected"):
        await netd.networks.start(entry, NETWORK)
    assert host.leftovers() == []
    assert not entry.is_active
    assert not netd.store.load_status()
    assert netd.bus.events == []
    assert netd.hooks.operations == ["start", "stopped"]


async def test_status_write_failure_undoes_the_start(host: FakeHost) -> None:
    netd = FakeNetd(host)
    entry = defined(netd)
    (host.paths.network_status_dir() / "n.xml").mkdir()
    with pytest.raises(VirError, match="cannot write the status") as refused:
        await netd.networks.start(entry, NETWORK)
    assert refused.value.code is ErrorCode.SYSTEM_ERROR
    assert host.leftovers() == []
    assert not entry.is_active


async def test_hook_can_refuse_the_start(host: FakeHost) -> None:
    netd = FakeNetd(host)
    netd.hooks.refused = "start"
    with pytest.raises(VirError) as refused:
        await netd.networks.start(defined(netd), NETWORK)
    assert refused.value.code is ErrorCode.HOOK_SCRIPT_FAILED
    assert host.leftovers() == []


async def test_subnet_in_use_is_refused(host: FakeHost) -> None:
    netd = FakeNetd(host)
    host.links.host_routes = [HostRoute(4, "10.0.0.0", 24, "", 1)]
    with pytest.raises(VirError, match="already in use by interface another"):
        await netd.networks.start(defined(netd), NETWORK)
    assert host.leftovers() == []


async def test_cancelled_caller_does_not_interrupt_the_start(host: FakeHost) -> None:
    netd = FakeNetd(host)
    entry = defined(netd)
    task = asyncio.ensure_future(netd.networks.start(entry, NETWORK))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert entry.is_active == bool(host.leftovers())


class NetdKilled(BaseException):
    """netd ends here: nothing is undone."""


@pytest.mark.parametrize("persistent", [True, False])
@pytest.mark.parametrize("done", range(STEPS + 1))
async def test_netd_killed_during_start_is_cleaned_up(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch, done: int, persistent: bool
) -> None:
    netd = FakeNetd(host)

    async def do_some(steps: list[Step], *executor: object) -> None:
        for step in steps[:done]:
            await netd.executor.do(step)
        raise NetdKilled

    async def killed(*args: object) -> None:
        raise NetdKilled

    monkeypatch.setattr("supervisor.netd.network.networks.run_steps", do_some)
    monkeypatch.setattr(netd.networks, "_clear", killed)
    with pytest.raises(NetdKilled):
        await netd.networks.start(defined(netd, persistent=persistent), NETWORK)
    after = await restarted(host)
    assert host.leftovers() == []
    assert not netd.store.load_status()
    assert [entry.is_active for entry in after.registry] == ([False] if persistent else [])


async def test_recovery_of_one_network_holds_up_no_other(host: FakeHost) -> None:
    netd, _ = await started(host)
    other = parse_network(
        "<network><name>m</name><uuid>11111111-2222-3333-4444-666666666666</uuid>"
        "<bridge name='b1' stp='on' delay='0'/><mac address='52:54:00:00:00:02'/></network>"
    )
    entry = NetworkObject(NETWORKS, name="m", uuid=UUID(str(other.uuid)).bytes, definition=other)
    netd.registry.add(entry)
    await netd.networks.start(entry, other)
    after = FakeNetd(host)
    after.dnsmasq_hangs = True
    tasks = recovering(after)
    await asyncio.sleep(0)
    assert sorted(entry.name for entry in after.registry if entry.is_active) == ["m", "n"]
    async with asyncio.timeout(5):
        entry = after.registry.get_by_name("m")
        async with entry.change_lock.hold("destroy"):
            await after.networks.stop(entry)
    assert after.registry.get_by_name("n").change_lock.holder == "recovery"
    assert after.reattached == ["m"]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("undone", range(STEPS + 1))
async def test_netd_killed_during_stop_repairs_the_network(host: FakeHost, undone: int) -> None:
    netd, _ = await started(host)
    before = sorted(host.leftovers())
    steps = plan_start(NETWORK, netd.services.dnsmasq_config(NETWORK))
    for step in list(reversed(steps))[:undone]:
        await netd.executor.undo(step)
    after = await restarted(host)
    assert sorted(host.leftovers()) == before
    assert after.registry.get_by_name("n").is_active


async def test_active_network_survives_netd(host: FakeHost) -> None:
    await started(host)
    before = sorted(host.leftovers())
    after = await restarted(host)
    assert sorted(host.leftovers()) == before
    entry = after.registry.get_by_name("n")
    assert entry.is_active
    await after.networks.stop(entry)
    assert host.leftovers() == []


async def test_recovery_restarts_dnsmasq_with_outdated_configuration(host: FakeHost) -> None:
    netd, _ = await started(host)
    config = netd.services.dnsmasq_paths(NETWORK).config
    expected = host.dnsmasq[config]
    host.dnsmasq[config] = "that of another version"
    config.write_text("that of another version")
    await restarted(host)
    assert host.dnsmasq[config] == expected


async def test_flushed_rules_are_installed_again(host: FakeHost) -> None:
    netd, _ = await started(host)
    host.rules.installed.clear()
    await netd.networks.repair_rules()
    assert list(host.rules.installed) == ["n"]


def updated() -> Network:
    return parse_network(XML.format("<host mac='52:54:00:00:00:09' ip='10.0.0.5'/>"))


async def test_update_changes_dnsmasq_and_status(host: FakeHost) -> None:
    netd, entry = await started(host)
    await netd.networks.update(entry, updated())
    paths = netd.services.dnsmasq_paths(NETWORK)
    assert "52:54:00:00:00:09" in paths.hosts.read_text()
    assert "52:54:00:00:00:09" in netd.store.load_status()[0].xml
    assert netd.hooks.operations[-1] == "updated"


async def test_update_is_reverted_when_the_status_cannot_be_written(host: FakeHost) -> None:
    netd, entry = await started(host)
    status = host.paths.network_status_dir() / "n.xml"
    status.unlink()
    status.mkdir()
    with pytest.raises(VirError, match="cannot write the status"):
        await netd.networks.update(entry, updated())
    assert netd.services.dnsmasq_paths(NETWORK).hosts.read_text() == ""
    assert entry.current == NETWORK


async def test_update_is_reverted_when_the_firewall_refuses(host: FakeHost) -> None:
    netd, entry = await started(host)
    host.rules.refuses = True
    changed = updated()
    changed.ips[0].dhcp = None  # DHCP's rules are to go
    with pytest.raises(VirError, match="the firewall refuses"):
        await netd.networks.update(entry, changed)
    config = netd.services.dnsmasq_paths(NETWORK).config
    assert "dhcp-range=10.0.0.2" in config.read_text()
    assert "dhcp-range=10.0.0.2" in host.dnsmasq[config]
    assert entry.current == NETWORK
