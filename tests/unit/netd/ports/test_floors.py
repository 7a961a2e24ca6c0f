"""Floors: what is reserved, refused and given back; the messages that the kernel gets."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.network import (
    Network,
    NetworkPort,
    format_port,
    parse_network,
    parse_port,
    port_bandwidth,
)
from conf.types.bandwidth import Bandwidth, Rate
from rpc.errors import ErrorCode, VirError
from supervisor.netd.dnsmasq.mac_map import format_macs
from supervisor.netd.kernel.bandwidth import RateLimit, release_commands, reserve_commands
from supervisor.netd.kernel.mac_filter import add_message
from supervisor.netd.ports.floors import check_floor, free_class
from tests.unit.netd.network.fake_host import FakeHost, FakeNetd
from tests.unit.netd.network.test_network_lifecycle import NETWORK, defined
from tests.unit.netd.ports.test_network_ports import ports_of

PORTS = [UUID(int=number + 1) for number in range(4)]


def port(floor: int, number: int = 1) -> NetworkPort:
    return NetworkPort(
        uuid=str(PORTS[number]),
        owner_name="web",
        mac=f"52:54:00:00:00:{number:02}",
        bandwidth=port_bandwidth(Bandwidth(inbound=Rate(floor=floor))),
    )


def network(inbound: str) -> Network:
    return parse_network(
        f"<network><name>n</name><bridge name='b0'/>{inbound}<ip address='10.0.0.1' prefix='24'/>"
        "</network>"
    )


@pytest.mark.parametrize(
    ("inbound", "total", "code", "words"),
    [
        ("", 1, ErrorCode.OPERATION_UNSUPPORTED, "network 'n' has no inbound QoS set"),
        ("<bandwidth><inbound average='9'/></bandwidth>", 10, ErrorCode.OPERATION_INVALID,
         "new combined inbound floor=10 would overcommit average=9 on"),
        ("<bandwidth><inbound average='9' peak='20'/></bandwidth>", 21,
         ErrorCode.OPERATION_INVALID, "floor=21 would overcommit peak=20 on"),
    ],
)  # fmt: skip
def test_a_floor_that_the_network_has_not_is_refused(
    inbound: str, total: int, code: ErrorCode, words: str
) -> None:
    with pytest.raises(VirError, match=words) as refusal:
        check_floor(network(inbound), port(1), total)
    assert refusal.value.code is code


def test_floors_may_sum_up_to_the_peak() -> None:
    limited = network("<bandwidth><inbound average='9' peak='20'/></bandwidth>")
    assert check_floor(limited, port(1), 20) == RateLimit(average=9, peak=20)


@given(st.sets(st.integers(3, 40)))
def test_a_class_is_given_once(taken: set[int]) -> None:
    number = free_class(taken)
    assert number >= 3
    assert number not in taken
    assert set(range(3, number)) <= taken


def test_the_others_keep_what_a_floor_leaves() -> None:
    limit = RateLimit(average=1000, peak=2000)
    own, leaf, others = (dict(each.options) for each in reserve_commands(limit, 3, 300, 700))
    assert own == {"handle": 0x10003, "parent": 0x10001, "rate": 300_000, "ceil": 2_000_000}
    assert (leaf["handle"], leaf["parent"]) == (0x30000, 0x10003)
    assert (others["handle"], others["rate"]) == (0x10002, 700_000)
    gone, again = release_commands(limit, 3, 1000)
    assert (gone.verb, dict(gone.options)["handle"]) == ("del-class", 0x10003)
    assert dict(again.options)["rate"] == 1_000_000


def test_nothing_left_is_a_rate_that_htb_accepts() -> None:
    assert dict(release_commands(RateLimit(average=5), 3, 0)[1].options)["rate"] == 1000


def test_the_filter_compares_the_destination_before_the_network_header() -> None:
    message = add_message(7, 3, "52:54:00:12:34:56")
    assert struct.unpack_from("=I", message)[0] == len(message)
    assert b"\xff\xff\xff\xff\x00\x12\x34\x56" + struct.pack("=i", -12) in message
    assert b"\x00\x00\xff\xff\x00\x00\x52\x54" + struct.pack("=i", -16) in message


class Traffic:
    """What the kernel is asked to do with a bridge's traffic, without doing it."""

    def __init__(self, host: FakeHost) -> None:
        self.requests = 0
        self.refuses = False
        host.links.traffic = self.traffic  # type: ignore[method-assign]

    async def traffic(self, work: Callable[[Any, int], None], name: str) -> None:
        self.requests += 1
        if self.refuses:
            raise OSError(2, "No such file or directory")


async def test_floors_are_reserved_given_back_and_outlive_netd(tmp_path: Path) -> None:
    host = FakeHost(tmp_path)
    netd = FakeNetd(host)
    entry = defined(netd)
    await netd.networks.start(entry, NETWORK)
    traffic, ports = Traffic(host), ports_of(netd)
    await ports.add(entry, PORTS[1], port(600, 1))
    await ports.add(entry, PORTS[2], port(400, 2))
    running = entry.runtime
    assert running is not None
    assert (running.classes, running.floor_sum) == ({3, 4}, 1000)
    with pytest.raises(VirError, match="overcommit average=1000 on network 'n'"):
        await ports.add(entry, PORTS[3], port(1, 3))
    stored = {each.name: parse_port(each.xml) for each in netd.store.ports("n")}
    assert [each.bandwidth and each.bandwidth.class_id for each in stored.values()] == [3, 4]
    await ports.limit(entry, PORTS[1], Bandwidth(inbound=Rate(floor=100)))
    assert (running.classes, running.floor_sum) == ({3, 4}, 500)
    with pytest.raises(VirError, match="overcommit"):
        await ports.limit(entry, PORTS[1], Bandwidth(inbound=Rate(floor=601)))
    assert (running.classes, running.floor_sum) == ({3, 4}, 500)
    await ports.limit(entry, PORTS[1], None)
    await ports.release(entry, PORTS[2])
    assert (running.classes, running.floor_sum) == (set(), 0)
    assert traffic.requests


async def test_a_floor_that_the_kernel_refuses_reserves_nothing(tmp_path: Path) -> None:
    host = FakeHost(tmp_path)
    netd = FakeNetd(host)
    entry = defined(netd)
    await netd.networks.start(entry, NETWORK)
    traffic, ports = Traffic(host), ports_of(netd)
    traffic.refuses = True
    with pytest.raises(VirError, match="cannot reserve bandwidth of 'b0'"):
        await ports.add(entry, PORTS[1], port(600))
    assert entry.runtime is not None
    assert (entry.runtime.classes, entry.runtime.floor_sum) == (set(), 0)
    assert netd.store.ports("n") == []


def test_a_ports_class_is_in_its_document() -> None:
    xml = format_port(parse_port("<networkport><bandwidth classID='3'/></networkport>"))
    assert "<bandwidth classID='3'/>" in xml


async def test_guests_and_their_addresses_are_listed_for_the_name_service(tmp_path: Path) -> None:
    netd = FakeNetd(FakeHost(tmp_path))
    entry = defined(netd)
    await netd.networks.start(entry, NETWORK)
    ports = ports_of(netd)
    for number in (1, 2):
        await ports.add(entry, PORTS[number], port(0, number))
    folder = netd.host.paths.dnsmasq()
    macs = folder / "b0.macs"
    owned = ["52:54:00:00:00:01", "52:54:00:00:00:02"]
    assert json.loads(macs.read_text()) == [{"domain": "web", "macs": owned}]
    assert macs.stat().st_mode & 0o777 == 0o644
    await ports.release(entry, PORTS[1])
    assert json.loads(macs.read_text()) == [{"domain": "web", "macs": owned[1:]}]
    entry.definition = None
    await netd.networks.stop(entry)
    assert not macs.exists()


def test_a_domains_interfaces_are_one_entry() -> None:
    other = NetworkPort(owner_name="mail", mac="52:54:00:00:00:09")
    listed = json.loads(format_macs([port(0, 1), other, port(0, 2), port(0, 2), NetworkPort()]))
    assert [(each["domain"], len(each["macs"])) for each in listed] == [("web", 2), ("mail", 1)]
