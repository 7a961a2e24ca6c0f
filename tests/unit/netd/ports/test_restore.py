"""Interfaces of running guests are attached again to a bridge that was made anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.netd.kernel.sysctl import Sysctl
from supervisor.netd.network.network import NetworkObject
from supervisor.netd.ports.devices import PortDevices
from supervisor.netd.ports.records import PortRecord, PortRecords
from supervisor.netd.ports.restore import PortRestorer
from tests.unit.netd.network.fake_host import FakeHost, FakeNetd
from tests.unit.netd.ports.test_network_ports import PORT, ports_of, started

UUID = "c7a5fdbd-edaf-9455-926a-d65c16db1809"
TAP = "vnet9"


@pytest.fixture
def netd(tmp_path: Path) -> FakeNetd:
    return FakeNetd(FakeHost(tmp_path))


def restorer(netd: FakeNetd, folder: Path, source: str, obj: NetworkObject | None) -> PortRestorer:
    """Record a guest's tap, and make what attaches it again."""
    kind = "bridge" if obj is None else "network"
    record = PortRecord(
        device=TAP,
        kind="tap",
        domain="web",
        uuid=UUID,
        mac="52:54:00:00:00:07",
        interface=f"<interface type='{kind}'><mac address='52:54:00:00:00:07'/>{source}"
        f"<target dev='{TAP}'/></interface>",
        network="" if obj is None else obj.uuid_text,
        port="" if obj is None else str(PORT),
        bridge="b0",
    )
    records = PortRecords(folder / "taps")
    records.save(record)
    links = netd.host.links
    devices = PortDevices(links, Sysctl(folder), records)
    return PortRestorer(ports_of(netd), records, links, devices)


def bridge_of_tap(netd: FakeNetd) -> str:
    links = netd.host.links.by_name
    return next((name for name, link in links.items() if link.index == links[TAP].master), "")


async def test_a_started_network_gets_the_taps_and_ports_of_its_guests(
    netd: FakeNetd, tmp_path: Path
) -> None:
    _, entry = await started(netd)
    restore = restorer(netd, tmp_path, "<source network='n'/>", entry)
    await netd.host.links.add(TAP, "tun")
    await restore.restore(entry)
    assert bridge_of_tap(netd) == "b0"
    assert entry.runtime is not None
    assert list(entry.runtime.ports) == [PORT.bytes]
    await restore.restore(entry)  # and once only
    assert netd.hooks.operations.count("port-created") == 1


async def test_a_tap_that_names_the_networks_bridge_follows_it(
    netd: FakeNetd, tmp_path: Path
) -> None:
    _, entry = await started(netd)
    restore = restorer(netd, tmp_path, "<source bridge='b0'/>", None)
    await netd.host.links.add(TAP, "tun")
    await restore.restore(entry)
    assert bridge_of_tap(netd) == "b0"
    assert entry.runtime is not None
    assert entry.runtime.ports == {}


async def test_a_guest_whose_tap_is_gone_or_whose_network_is_off_is_left_alone(
    netd: FakeNetd, tmp_path: Path
) -> None:
    _, entry = await started(netd)
    restore = restorer(netd, tmp_path, "<source network='n'/>", entry)
    await restore.restore(entry)
    await netd.host.links.add(TAP, "tun")
    await netd.networks.stop(entry)
    await restore.restore(entry)
    assert netd.host.links.by_name[TAP].master == 0


async def test_a_tap_that_cannot_be_attached_is_named_in_the_log(
    netd: FakeNetd, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, entry = await started(netd)
    restore = restorer(netd, tmp_path, "<source network='n'/>", entry)
    await netd.host.links.add(TAP, "tun")
    netd.hooks.refused = "port-created"
    await restore.restore(entry)
    assert f"'{TAP}' of domain 'web' cannot be attached" in caplog.text
