"""Ports of networks: added, refused, deleted, released."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from uuid import UUID

import pytest

from conf.domain.devices.interface import Interface, InterfaceSource
from conf.mapper import Mode, write
from conf.network import NetworkPort, Plug
from conf.types.bandwidth import Bandwidth, Rate
from rpc.errors import ErrorCode, VirError
from supervisor.messages.netd import AdoptPort, DetachPort, SetBandwidth
from supervisor.netd.kernel.sysctl import Sysctl
from supervisor.netd.network.network import NetworkObject
from supervisor.netd.ports.devices import PortDevices
from supervisor.netd.ports.floors import Floors
from supervisor.netd.ports.interface_xml import read_interface
from supervisor.netd.ports.network_ports import NetworkPorts
from supervisor.netd.ports.ports import Ports
from supervisor.netd.ports.records import PortRecords
from tests.unit.netd.network.fake_host import FakeHost, FakeNetd
from tests.unit.netd.network.test_network_lifecycle import NETWORK, defined

PORT = UUID("aaaaaaaa-0000-4000-8000-000000000001")


@pytest.fixture
def netd(tmp_path: Path) -> FakeNetd:
    return FakeNetd(FakeHost(tmp_path))


def ports_of(netd: FakeNetd) -> NetworkPorts:
    return NetworkPorts(netd.registry, netd.store, netd.hooks, Floors(netd.host.links))


async def started(netd: FakeNetd) -> tuple[NetworkPorts, NetworkObject]:
    entry = defined(netd)
    await netd.networks.start(entry, NETWORK)
    return ports_of(netd), entry


def port(device: str = "eth1") -> NetworkPort:
    return NetworkPort(uuid=str(PORT), plug=Plug(type="direct", dev=device))


def interface(network: str = "n") -> Interface:
    return Interface(type="network", source=InterfaceSource(network=network))


async def test_a_port_is_stored_and_announced(netd: FakeNetd) -> None:
    ports, entry = await started(netd)
    await ports.add(entry, PORT, port())
    assert [stored.name for stored in netd.store.ports("n")] == [str(PORT)]
    assert ports.device_users(entry) == {"eth1": 1}
    await ports.delete(entry, PORT)
    assert netd.store.ports("n") == []
    assert entry.runtime is not None
    assert entry.runtime.ports == {}
    assert netd.hooks.operations[-2:] == ["port-created", "port-deleted"]


async def test_a_refused_port_is_not_stored(netd: FakeNetd) -> None:
    ports, entry = await started(netd)
    netd.hooks.refused = "port-created"
    with pytest.raises(VirError) as refused:
        await ports.add(entry, PORT, port())
    assert refused.value.code is ErrorCode.HOOK_SCRIPT_FAILED
    assert netd.store.ports("n") == []
    await ports.release(entry, PORT)  # the caller's rollback
    assert netd.hooks.operations[-1] == "port-created"


async def test_a_port_of_an_inactive_network_is_refused(netd: FakeNetd) -> None:
    ports, entry = await started(netd)
    await netd.networks.stop(entry)
    with pytest.raises(VirError, match="network 'n' is not active"):
        ports.plan(interface())
    with pytest.raises(VirError) as refused:
        ports.plan(interface("missing"))
    assert refused.value.code is ErrorCode.NO_NETWORK


async def test_the_network_is_locked_while_an_interface_is_attached(netd: FakeNetd) -> None:
    ports, entry = await started(netd)
    async with ports.hold_network(interface()):
        assert entry.change_lock.holder == "attach interface"
    assert entry.change_lock.holder == ""


ATTACHED = f"""<interface type='{{kind}}'><mac address='52:54:00:00:00:07'/>
<source network='{{network}}' portid='{PORT}' bridge='b0'/><target dev='vnet9'/>
<alias name='net0'/></interface>"""


def guests_ports(netd: FakeNetd, folder: Path) -> Ports:
    records = PortRecords(folder / "taps")
    links = netd.host.links
    devices = PortDevices(links, Sysctl(folder), records)
    return Ports(ports_of(netd), records, links, devices, None, session=False)


def adoption(kind: str = "network", network: str = "n") -> AdoptPort:
    return AdoptPort(
        domain="web", uuid=str(PORT), interface=ATTACHED.format(kind=kind, network=network)
    )


async def test_an_interface_that_libvirts_daemon_attached_becomes_a_port_of_ours(
    netd: FakeNetd, tmp_path: Path
) -> None:
    _, entry = await started(netd)
    ports = guests_ports(netd, tmp_path)
    for _ in range(2):  # a worker that was killed begins again
        await ports.adopt(adoption())
    (record,) = PortRecords(tmp_path / "taps")
    assert (record.device, record.kind, record.bridge) == ("vnet9", "tap", "b0")
    assert (record.network, record.port) == (entry.uuid_text, str(PORT))
    assert netd.hooks.operations.count("port-created") == 1
    assert entry.runtime is not None
    assert list(entry.runtime.ports) == [PORT.bytes]
    await ports.detach(DetachPort(uuid=str(PORT)))
    assert entry.runtime.ports == {}
    assert not ports.any()


async def test_an_interface_of_a_network_that_is_not_there_is_recorded_all_the_same(
    netd: FakeNetd, tmp_path: Path
) -> None:
    ports = guests_ports(netd, tmp_path)
    await ports.adopt(adoption("direct", "gone"))
    (record,) = PortRecords(tmp_path / "taps")
    assert (record.kind, record.network, record.port) == ("macvtap", "", "")


@pytest.mark.parametrize("fails", [False, True])
async def test_limits_that_the_kernel_refuses_leave_those_from_before(
    netd: FakeNetd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    _, entry = await started(netd)
    ports = guests_ports(netd, tmp_path)
    await ports.adopt(adoption())
    set_to: list[Bandwidth | None] = []

    async def set_bandwidth(_: PortDevices, name: str, bandwidth: Bandwidth | None) -> None:
        set_to.append(bandwidth)
        if fails and len(set_to) == 2:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))

    monkeypatch.setattr(PortDevices, "set_bandwidth", set_bandwidth)
    old, new = (Bandwidth(outbound=Rate(average=average)) for average in (100, 200))
    request = SetBandwidth(uuid=str(PORT), tap="vnet9", bandwidth=write(old, Mode(live=True)))
    await ports.set_bandwidth(request)
    request = SetBandwidth(uuid=str(PORT), tap="vnet9", bandwidth=write(new, Mode(live=True)))
    if fails:
        with pytest.raises(VirError, match="cannot limit the traffic of 'vnet9'"):
            await ports.set_bandwidth(request)
    else:
        await ports.set_bandwidth(request)
    kept = old if fails else new
    assert set_to == [old, new, *([old] if fails else [])]
    (record,) = PortRecords(tmp_path / "taps")
    assert read_interface(record.interface).bandwidth == kept
    assert entry.runtime is not None
    of_port = entry.runtime.ports[PORT.bytes].bandwidth
    assert of_port is not None
    assert of_port.outbound == kept.outbound


async def test_a_device_that_is_gone_is_the_error_of_its_limits(
    netd: FakeNetd, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await started(netd)
    ports = guests_ports(netd, tmp_path)
    await ports.adopt(adoption())  # the kernel has no such tap: its guest has ended meanwhile
    limits = write(Bandwidth(outbound=Rate(average=100)), Mode(live=True))
    with pytest.raises(VirError, match="cannot limit the traffic of 'vnet9'"):
        await ports.set_bandwidth(SetBandwidth(uuid=str(PORT), tap="vnet9", bandwidth=limits))
    assert "'vnet9' does not have its former limits: No such device" in caplog.text


async def test_an_interface_without_a_device_is_refused(netd: FakeNetd, tmp_path: Path) -> None:
    request = AdoptPort(domain="web", uuid=str(PORT), interface="<interface type='bridge'/>")
    with pytest.raises(VirError, match="has no device"):
        await guests_ports(netd, tmp_path).adopt(request)
