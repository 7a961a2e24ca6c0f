"""The announcement by mDNS: what is announced, and that it follows an avahi that comes and goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from conf.settings import DaemonConfig
from supervisor.authd import mdns
from supervisor.authd.mdns import Announcer, ServerState, Service, service_of
from tests.unit.authd.avahi_under_test import Avahi, avahi
from tests.unit.authd.polkit_under_test import system_bus

LAB = Service("Lab", 16514)
WAIT_S = 10.0


@asynccontextmanager
async def announced(service: Service) -> AsyncIterator[Announcer]:
    announcer = Announcer()
    announcer.announce(service)
    try:
        yield announcer
    finally:
        announcer.close()
        await asyncio.sleep(0)  # the task ends


async def next_entry(service: Avahi) -> object:
    async with asyncio.timeout(WAIT_S):
        return await service.announced.get()


def test_nothing_is_announced_unless_the_settings_say_so() -> None:
    assert service_of(DaemonConfig(), 16514, "lab") is None
    config = DaemonConfig(mdns_adv=True)
    assert service_of(config, 16514, "lab.example") == Service("Virtualization Host lab", 16514)
    named = DaemonConfig(mdns_adv=True, mdns_name="Lab")
    assert service_of(named, 0, "lab") == Service("Lab", 0)


def test_a_name_is_cut_to_what_dns_takes_between_characters() -> None:
    config = DaemonConfig(mdns_adv=True, mdns_name="ä" * 40)
    service = service_of(config, 0, "lab")
    assert service == Service("ä" * 31, 0)


def test_the_service_is_entered_where_avahi_runs(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with system_bus(tmp_path), avahi() as service, announced(LAB):
            assert await next_entry(service) == ("Lab", "_libvirt._tcp", 16514)

    asyncio.run(scenario())


def test_an_avahi_that_comes_later_or_again_has_the_service(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with system_bus(tmp_path), announced(LAB):
            for _ in range(2):
                async with avahi() as service:
                    assert await next_entry(service) == ("Lab", "_libvirt._tcp", 16514)

    asyncio.run(scenario())


def test_the_service_is_entered_when_avahi_is_ready_and_again_after_a_new_host_name(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with (
            system_bus(tmp_path),
            avahi(ServerState.REGISTERING) as service,
            announced(LAB),
        ):
            await service.change_state(ServerState.RUNNING)
            await next_entry(service)
            await service.change_state(ServerState.COLLISION)
            await service.change_state(ServerState.RUNNING)
            assert await next_entry(service) == ("Lab", "_libvirt._tcp", 16514)

    asyncio.run(scenario())


def test_another_name_is_taken_where_another_host_has_ours(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            system_bus(tmp_path),
            avahi(ServerState.RUNNING, "Lab") as service,
            announced(LAB),
        ):
            assert await next_entry(service) == ("Lab #2", "_libvirt._tcp", 16514)

    asyncio.run(scenario())


def test_a_change_of_the_settings_replaces_the_service(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with system_bus(tmp_path), avahi() as service, announced(LAB) as announcer:
            await next_entry(service)
            announcer.announce(Service("Other", 0))
            assert await next_entry(service) == ("Other", "_libvirt._tcp", 0)
            announcer.announce(None)

    asyncio.run(scenario())


def test_a_host_without_a_bus_is_tried_again_and_named_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mdns, "RETRY_S", 0.01)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")

    async def scenario() -> None:
        async with announced(LAB):
            await asyncio.sleep(0.1)
            async with system_bus(tmp_path), avahi() as service:
                assert await next_entry(service) == ("Lab", "_libvirt._tcp", 16514)

    asyncio.run(scenario())
    assert caplog.text.count("is not announced by mDNS: FileNotFoundError") == 1
