"""One change of a domain: planned, then done live, then written."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from conf.domain import parse_domain
from rpc.enums import DomainMetadataType
from rpc.enums import DomainModificationImpact as Impact
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.params import UInt, params
from supervisor.messages.worker import SetMetadata, UpdateDevice
from tests.unit.domd.domd_under_test import DOM, XML, Domd, FakeWorker, domd

MAC = "52:54:00:00:00:01"
INACTIVE = 2  # VIR_DOMAIN_XML_INACTIVE
LIMIT = params({"inbound.average": UInt(1000)})
DISK = "<disk type='file' device='disk'><source file='/a'/><target dev='{}' bus='virtio'/></disk>"


async def refuse(worker: FakeWorker, request: object) -> object:
    raise VirError(ErrorCode.OPERATION_FAILED, "the kernel says no", ErrorDomain.QEMU)


async def defined_limit(service: Domd) -> int:
    domain = parse_domain(await service.xml(INACTIVE))
    bandwidth = domain.devices.interfaces[0].bandwidth
    return (bandwidth.inbound.average or 0) if bandwidth and bandwidth.inbound else 0


async def set_limit(service: Domd, impact: int) -> None:
    await service.call("domain_set_interface_parameters", DOM, MAC, LIMIT, impact)


def test_a_refused_live_bandwidth_leaves_the_definition_as_it_was(tmp_path: Path) -> None:
    async def story() -> None:
        async with domd(tmp_path) as service:
            await service.define()
            await service.start()
            service.tree.scripts[UpdateDevice] = refuse
            with pytest.raises(VirError, match="the kernel says no"):
                await set_limit(service, Impact.LIVE | Impact.CONFIG)
            assert await defined_limit(service) == 0

    asyncio.run(story())


@pytest.mark.parametrize("impact", [Impact.CONFIG, Impact.LIVE, Impact.LIVE | Impact.CONFIG])
def test_bandwidth_changes_where_the_flags_say(tmp_path: Path, impact: int) -> None:
    async def story() -> None:
        async with domd(tmp_path) as service:
            await service.define()
            await service.start()
            await set_limit(service, impact)
            assert await defined_limit(service) == (1000 if impact & Impact.CONFIG else 0)
            updates = [r for r in service.tree.worker.requests if isinstance(r, UpdateDevice)]
            assert len(updates) == bool(impact & Impact.LIVE)
            assert all("<inbound average='1000'/>" in update.xml for update in updates)

    asyncio.run(story())


def test_a_change_that_the_definition_cannot_take_is_not_done_live(tmp_path: Path) -> None:
    async def story() -> None:
        async with domd(tmp_path) as service:
            await service.define()
            await service.call("domain_attach_device_flags", DOM, DISK.format("vda"), Impact.CONFIG)
            await service.start()
            before = len(service.tree.worker.requests)
            both = Impact.LIVE | Impact.CONFIG
            with pytest.raises(VirError, match="target vda already exists"):
                await service.call("domain_attach_device_flags", DOM, DISK.format("vda"), both)
            assert len(service.tree.worker.requests) == before

    asyncio.run(story())


def test_a_domain_that_is_off_has_no_live_change(tmp_path: Path) -> None:
    async def story() -> None:
        async with domd(tmp_path) as service:
            await service.define()
            with pytest.raises(VirError, match="domain is not running") as refused:
                await set_limit(service, Impact.LIVE)
            assert refused.value.code is ErrorCode.OPERATION_INVALID

    asyncio.run(story())


def test_a_title_is_set_in_the_definition_alone_while_the_domain_is_off(tmp_path: Path) -> None:
    async def story() -> None:
        async with domd(tmp_path) as service:
            await service.define()
            kind = DomainMetadataType.TITLE
            await service.call("domain_set_metadata", DOM, kind, "A web server", None, None, 0)
            assert "<title>A web server</title>" in await service.xml()

    asyncio.run(story())


def test_a_live_element_is_set_beside_those_that_the_guest_has(tmp_path: Path) -> None:
    async def story() -> None:
        async with domd(tmp_path) as service:
            metadata = "</name><metadata><a:x xmlns:a='urn:a'/></metadata>"
            await service.define(XML["qemu"].replace("</name>", metadata))
            await service.start()
            kind, live = DomainMetadataType.ELEMENT, Impact.LIVE
            await service.call("domain_set_metadata", DOM, kind, "<y/>", "b", "urn:b", live)
            sent = [one for one in service.tree.worker.requests if isinstance(one, SetMetadata)]
            assert [one.field for one in sent] == ["metadata"]
            assert "urn:a" in (sent[0].text or "")
            assert "urn:b" in (sent[0].text or "")

    asyncio.run(story())


def test_a_live_title_is_set_without_reading_the_guests_definition(tmp_path: Path) -> None:
    async def story() -> None:
        async with domd(tmp_path) as service:
            await service.define()
            await service.start()
            kind, live = DomainMetadataType.TITLE, Impact.LIVE
            with pytest.raises(VirError, match="can't contain newlines"):
                await service.call("domain_set_metadata", DOM, kind, "a\nb", None, None, live)
            await service.call("domain_set_metadata", DOM, kind, "", None, None, live)
            sent = [one for one in service.tree.worker.requests if isinstance(one, SetMetadata)]
            assert sent == [SetMetadata(field="title", text=None)]

    asyncio.run(story())
