"""What a connection's driver decides: its calls, who answers them, which events it hears."""

from __future__ import annotations

import asyncio

import pytest

from ipc import Descriptor
from rpc import table as wire_table
from rpc.errors import ErrorCode, VirError
from rpc.framing import MessageType, Status
from rpc.table import Procedure
from supervisor.messages.calls import ClientEvent, ClientReply
from supervisor.rpcd.auth.access import check_supported
from tests.unit.rpcd.server_under_test import Peer, client

BOX = b"b" * 16


async def open_to(peer: Peer, uri: str) -> None:
    await peer.send(peer.call("connect_open", uri, 0))
    assert (await peer.receive()).header.status == Status.OK


def lifecycle(driver: str, family: str = "domain") -> ClientEvent:
    payload = f"from {driver}".encode()
    return ClientEvent(family=family, event_id=0, driver=driver, uuid=BOX, payload=payload)


@pytest.mark.parametrize(("uri", "driver"), [("qemu:///system", "qemu"), ("lxc:///", "lxc")])
def test_domain_events_reach_clients_of_their_driver_only(uri: str, driver: str) -> None:
    async def scenario() -> bytes:
        async with client() as peer:
            await open_to(peer, uri)
            await peer.send(peer.call("connect_domain_event_callback_register_any", 0, None))
            assert (await peer.receive()).header.status == Status.OK
            for teller in ("qemu", "lxc"):
                peer.session.deliver(lifecycle(teller))
            heard = await peer.receive()
            assert heard.header.type == MessageType.MESSAGE
            await peer.send(peer.call("connect_get_lib_version"))
            assert (await peer.receive()).header.type == MessageType.REPLY  # and no second event
            return bytes(heard.payload)

    assert asyncio.run(scenario()).endswith(f"from {driver}".encode())


@pytest.mark.parametrize("uri", ["qemu:///system", "lxc:///system"])
def test_network_events_reach_clients_of_every_driver(uri: str) -> None:
    async def scenario() -> None:
        async with client() as peer:
            await open_to(peer, uri)
            await peer.send(peer.call("connect_network_event_register_any", 0, None))
            assert (await peer.receive()).header.status == Status.OK
            peer.session.deliver(lifecycle("", "network"))
            assert (await peer.receive()).header.type == MessageType.MESSAGE

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("call", "driver", "process"),
    [
        ("domain_create", "qemu", "domd"),
        ("domain_create", "lxc", "lxcd"),
        ("domain_open_console", "qemu", "domd"),
        ("domain_open_console", "lxc", "lxcd"),
        ("node_get_info", "lxc", "hostd"),
        ("network_create", "lxc", "netd"),
        ("storage_pool_create", "lxc", "stord"),
    ],
)
def test_calls_are_routed_by_owner_and_driver(call: str, driver: str, process: str) -> None:
    async def scenario() -> None:
        async with client() as peer:
            assert peer.server.router.process_for(wire_table.load().named(call), driver) == process

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("call", "driver"),
    [
        ("domain_reset", "lxc"),
        ("domain_screenshot", "lxc"),
        ("domain_monitor_command", "lxc"),
        ("connect_domain_monitor_event_register", "lxc"),
        ("domain_open_namespace", "qemu"),
        ("domain_migrate_finish", "qemu"),
    ],
)
def test_a_call_that_a_driver_lacks_is_refused_with_its_api_name(call: str, driver: str) -> None:
    procedure = wire_table.load().named(call)
    with pytest.raises(VirError) as refused:
        check_supported(procedure, driver)
    assert refused.value.code is ErrorCode.NO_SUPPORT
    assert refused.value.detail == procedure.api


def test_a_call_that_a_driver_lacks_reaches_no_service() -> None:
    asked: list[str] = []

    async def service(
        procedure: Procedure, payload: bytes, passed: list[Descriptor]
    ) -> ClientReply:
        asked.append(procedure.name)
        return ClientReply(payload=b"\0\0\0\0")

    async def scenario() -> None:
        async with client(service) as peer:
            await open_to(peer, "lxc:///system")
            await peer.send(peer.call("connect_get_max_vcpus", None))
            assert (await peer.receive()).header.status == Status.ERROR
            await peer.send(peer.call("connect_num_of_domains"))
            assert (await peer.receive()).header.status == Status.OK

    asyncio.run(scenario())
    assert asked == ["connect_num_of_domains"]
