"""Definitions that follow their guests' disks: written once, and never changed in place."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from conf.domain import format_domain, parse_domain
from supervisor.domd.disk_changes import DiskChanges, follow
from supervisor.domd.domain import Definition, DomainObject
from supervisor.domd.registry import DomainRegistry
from supervisor.drivers.qemu import QEMU
from supervisor.objects.disk_change import DiskChange

XML = """<domain type='qemu'><name>web</name><uuid>00000000-0000-0000-0000-000000000001</uuid>
<memory>1024</memory><os><type arch='x86_64' machine='pc'>hvm</type></os><devices>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/web'/>
<target dev='vda' bus='virtio'/></disk></devices></domain>"""
CHANGE = DiskChange(
    number=1,
    target="vda",
    before=["file:/web"],
    disk="<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>"
    "<source file='/web.s1'/>"
    "<backingStore type='file'><format type='qcow2'/><source file='/web'/></backingStore>"
    "<target dev='vda' bus='virtio'/></disk>",
)


class SlowDisk:
    """Definitions that take a while to be written."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.beside: list[Mapping[Path, str]] = []

    async def replace(
        self, domain: DomainObject, definition: Definition, beside: Mapping[Path, str]
    ) -> None:
        await asyncio.sleep(0.01)
        self.written.append(definition.xml)
        self.beside.append(beside)
        domain.definition = definition


def test_who_follows_at_the_same_time_writes_once() -> None:
    disk = SlowDisk()
    domain = DomainRegistry(QEMU).make("web", bytes(16))
    domain.definition = Definition(XML)
    domain.disk_changes = [CHANGE]
    changes = DiskChanges(cast(Any, disk), cast(Any, None))

    async def work() -> None:
        await asyncio.gather(changes.follow(domain), changes.follow(domain))

    asyncio.run(work())
    assert len(disk.written) == 1
    assert "/web.s1" in disk.written[0]
    assert not domain.disk_changes


def test_other_documents_are_written_with_the_definition_by_who_makes_the_change() -> None:
    disk = SlowDisk()
    domain = DomainRegistry(QEMU).make("web", bytes(16))
    domain.definition = Definition(XML)
    changes = DiskChanges(cast(Any, disk), cast(Any, None))
    record = {Path("/s1.xml"): "<domainsnapshot/>"}

    async def work() -> None:
        async with changes.following(domain) as follow:
            domain.disk_changes = [CHANGE]
            other = asyncio.create_task(changes.follow(domain))  # as the worker's report has it
            await asyncio.sleep(0)
            assert await follow(record)
            assert not await follow(record), "there is nothing to write them with"
        await other

    asyncio.run(work())
    assert disk.beside == [record]
    assert "/web.s1" in disk.written[0]


def test_the_former_definition_is_what_it_was() -> None:
    former = Definition(XML)
    text = format_domain(former.domain)
    followed = follow(former, [CHANGE])
    assert followed is not None
    assert format_domain(followed.domain) == format_domain(parse_domain(followed.xml))
    assert format_domain(former.domain) == text
