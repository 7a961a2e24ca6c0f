"""DHCP leases for clients: their values, and that reading them holds up nothing."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from uuid import UUID

from conf.network import parse_network
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.messages.calls import Client, Identity
from supervisor.netd.network.calls.query import QueryCalls
from supervisor.netd.network.network import NetworkObject, NetworkRuntime
from supervisor.netd.network.registry import NETWORKS, network_registry

NETWORK = parse_network(
    "<network><name>n</name><uuid>11111111-2222-3333-4444-555555555555</uuid><bridge name='b0'/>"
    "<ip address='10.0.0.1' prefix='20'/><ip family='ipv6' address='fd00::1' prefix='48'/>"
    "</network>"
)
CALL = ClientCall(
    Client(
        id="1", identity=Identity(), read_only=False, uri="qemu:///system", driver="qemu"
    )
)  # fmt: skip
LEASES = [
    {"ip-address": "10.0.3.4", "mac-address": "52:54:00:00:00:01"},
    {"ip-address": "fd00::9", "mac-address": "52:54:00:00:00:02"},
    {"ip-address": "192.0.2.1", "mac-address": "52:54:00:00:00:03"},
]


def queries(database: Path) -> tuple[QueryCalls, NetworkObject]:
    registry = network_registry()
    network = NetworkObject(NETWORKS, name="n", uuid=UUID(str(NETWORK.uuid)).bytes)
    network.runtime = NetworkRuntime(NETWORK)
    registry.add(network)
    return QueryCalls(registry, lambda _: database), network


async def test_a_lease_has_the_prefix_of_the_subnet_that_it_belongs_to(tmp_path: Path) -> None:
    database = tmp_path / "b0.status"
    database.write_text(json.dumps(LEASES))
    calls, network = queries(database)
    leases, count = await calls.network_get_dhcp_leases(CALL, network.identity, None, 1, 0)
    assert count == 3
    assert [(lease.ipaddr, lease.prefix) for lease in leases] == [
        ("10.0.3.4", 20),
        ("fd00::9", 48),
        ("192.0.2.1", 24),
    ]


async def test_other_calls_go_on_while_a_lease_database_is_read(tmp_path: Path) -> None:
    database = tmp_path / "b0.status"
    os.mkfifo(database)  # its reader waits for the writer, which the loop has to run
    calls, network = queries(database)
    asked = asyncio.create_task(calls.network_get_dhcp_leases(CALL, network.identity, None, 1, 0))
    await asyncio.sleep(0)
    assert calls.network_is_active(CALL, network.identity) == 1
    await asyncio.to_thread(database.write_text, json.dumps(LEASES))
    assert (await asked)[1] == 3


async def test_the_leases_of_one_mac_address_are_asked_for_in_any_case(tmp_path: Path) -> None:
    database = tmp_path / "b0.status"
    database.write_text(json.dumps(LEASES))
    calls, network = queries(database)
    mac = "52:54:00:00:00:02".upper()
    leases, count = await calls.network_get_dhcp_leases(CALL, network.identity, mac, 1, 0)
    assert (count, leases[0].ipaddr) == (1, "fd00::9")
