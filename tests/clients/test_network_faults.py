"""A fault after each step of a network's start leaves nothing on the host."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from conf.network import parse_network
from rpc.errors import ErrorCode, VirError
from supervisor.netd.dnsmasq.files import install_script
from supervisor.netd.firewall import Firewall
from supervisor.netd.firewall.iptables import Iptables
from supervisor.netd.kernel.netlink import Rtnetlink
from supervisor.netd.kernel.sysctl import Sysctl
from supervisor.netd.network.network_services import NetworkServices
from supervisor.netd.network.plan import plan_start
from supervisor.netd.network.step_executor import StepExecutor, describe_step, run_steps
from supervisor.netd.network.steps import Step
from supervisor.runtime.paths import Paths
from tests.clients.namespace import own_network, shown

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("dnsmasq", "ip", "iptables"))),
    reason="needs root, dnsmasq-base, iproute2 and iptables",
)

NETWORK = parse_network(
    "<network><name>faulty</name><forward mode='nat'/>"
    "<bridge name='vvfault' stp='off' delay='0'/><mac address='52:54:00:fa:00:01'/>"
    "<bandwidth><inbound average='1000'/></bandwidth>"
    "<ip address='10.79.0.1' netmask='255.255.255.0'>"
    "<dhcp><range start='10.79.0.2' end='10.79.0.9'/></dhcp></ip>"
    "<route address='10.78.0.0' prefix='16' gateway='10.79.0.7'/></network>"
)


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[Paths]:
    tmp_path.chmod(0o755)
    with own_network():
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        found = Paths.system(tmp_path)
        found.network_status_dir().mkdir(parents=True)
        install_script(found.dnsmasq())
        yield found


def left(paths: Paths) -> list[str]:
    """What is there of the network: links, rules, routes, files, processes."""
    rules = [line for line in shown("iptables-save").splitlines() if "vvfault" in line]
    links = [line for line in shown("ip", "-o", "addr").splitlines() if "vvfault" in line]
    files = [str(path) for path in paths.dnsmasq().iterdir() if path.name.startswith("faulty")]
    config = str(paths.dnsmasq() / "faulty.conf").encode()
    servers = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and config in (entry / "cmdline").read_bytes():
                servers.append(entry.name)
        except OSError:
            continue
    return [*rules, *links, *files, *servers]


async def firewall() -> Firewall:
    return Firewall(Iptables())


async def start(paths: Paths, broken: int | None) -> None:
    links, services = Rtnetlink(), NetworkServices(paths, firewall)
    host = StepExecutor(links, Sysctl(), services)
    plan = plan_start(NETWORK, services.dnsmasq_config(NETWORK))

    async def do(step: Step) -> None:
        await host.do(step)
        if broken is not None and step is plan[broken]:
            raise VirError(ErrorCode.SYSTEM_ERROR, f"injected after: {describe_step(step)}")

    try:
        if broken is None:
            await run_steps(plan, do, host.undo)
            assert left(paths), "without a fault it is up"
            for step in reversed(plan):
                await host.undo(step)
            return
        with pytest.raises(VirError, match="injected"):
            await run_steps(plan, do, host.undo)
    finally:
        services.close()
        links.close()


def test_fault_after_each_step_leaves_nothing(paths: Paths) -> None:
    asyncio.run(start(paths, None))
    assert left(paths) == []
    steps = plan_start(NETWORK, NetworkServices(paths, firewall).dnsmasq_config(NETWORK))
    for broken, step in enumerate(steps):
        asyncio.run(start(paths, broken))
        assert left(paths) == [], describe_step(step)


def test_steps_are_idempotent(paths: Paths) -> None:
    async def twice() -> tuple[list[str], list[str]]:
        links, services = Rtnetlink(), NetworkServices(paths, firewall)
        host = StepExecutor(links, Sysctl(), services)
        plan = plan_start(NETWORK, services.dnsmasq_config(NETWORK))
        try:
            await run_steps(plan, host.do, host.undo)
            first = left(paths)
            for step in plan:
                await host.do(step)
            return first, left(paths)
        finally:
            for step in reversed(plan):
                await host.undo(step)
            links.close()

    first, second = asyncio.run(twice())
    assert first == second
    assert left(paths) == []
