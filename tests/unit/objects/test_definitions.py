"""Definitions of any type of object: disk, memory and event; loading; autostart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from conf.errors import ConfError
from rpc.enums import (
    DomainEventType,
    NetworkEventLifecycleType,
    SecretEventLifecycleType,
    StoragePoolEventLifecycleType,
)
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Network
from supervisor.dispatch.events import Publisher
from supervisor.dispatch.service_errors import ServiceErrors
from supervisor.messages.calls import ClientEvent
from supervisor.objects.autostart import autostart
from supervisor.objects.definition_files import DefinitionFiles, Folders
from supervisor.objects.definition_xml import DefinitionXml, Identity
from supervisor.objects.definitions import DEFINED, UNDEFINED, Definitions
from supervisor.objects.load import load_definitions, load_status
from supervisor.objects.object import LibvirtObject
from supervisor.objects.object_type import ObjectType
from supervisor.objects.registry import Registry
from tests.unit.dispatch.event_bus import RecordedBus

ERRORS = ServiceErrors(ErrorDomain.NETWORK)
THING = ObjectType(
    name="thing",
    long_name="thing",
    edit_command="thing-edit",
    not_found=ErrorCode.NO_NETWORK,
    errors=ERRORS,
    conf_errors=ERRORS,
)


@dataclass(frozen=True)
class Model:
    name: str
    number: int
    text: str = ""


class Thing(LibvirtObject[Model, str]):
    @property
    def identity(self) -> Network:
        return Network(self.name, self.uuid)


def parse(text: str) -> Model:
    if text.startswith("<!--"):
        text = text.partition("-->\n\n")[2]
    words = text.split(",")
    if len(words) != 3:
        raise ConfError("xml", "it is no thing")
    return Model(words[0], int(words[1]), words[2])


XML = DefinitionXml(
    parse=parse,
    format=lambda model: f"{model.name},{model.number},{model.text}",
    identity=lambda model: Identity(model.name, bytes([model.number] * 16)),
)


class Service:
    """A service with objects of one type."""

    def __init__(self, folder: Path, check: Callable[[Model], None] | None = None) -> None:
        self.bus = RecordedBus()
        self.files = DefinitionFiles(
            THING,
            Folders(
                folder / "etc", folder / "etc/autostart", folder / "run", folder / "lib/changes"
            ),
        )
        self.registry: Registry[Thing] = Registry(THING, Thing)
        publisher = Publisher(self.bus, "network")
        self.definitions = Definitions(
            self.registry, self.files, XML, publisher, check=check, redefined_detail=1
        )
        load_definitions(self.registry, self.files.load(), XML)

    def lifecycle(self) -> list[tuple[int, int]]:
        payloads = [e.payload for e in self.bus.events if isinstance(e, ClientEvent)]
        return [(int.from_bytes(p[-8:-4], "big"), int.from_bytes(p[-4:], "big")) for p in payloads]

    def names(self) -> list[str]:
        return sorted(entry.name for entry in self.registry)


async def test_a_definition_is_on_disk_in_memory_and_published(tmp_path: Path) -> None:
    service = Service(tmp_path)
    first = await service.definitions.define(Model("one", 1))
    again = await service.definitions.define(Model("one", 1, "new"))
    assert first is again
    assert again.definition == Model("one", 1, "new")
    assert service.lifecycle() == [(DEFINED, 0), (DEFINED, 1)]
    restarted = Service(tmp_path)
    assert restarted.registry.get_by_name("one").definition == Model("one", 1, "new")


async def test_a_name_or_uuid_of_another_object_is_refused(tmp_path: Path) -> None:
    service = Service(tmp_path)
    await service.definitions.define(Model("one", 1))
    for model in (Model("one", 2), Model("two", 1)):
        with pytest.raises(VirError) as refused:
            await service.definitions.define(model)
        assert refused.value.code is ErrorCode.OPERATION_FAILED
    assert service.names() == ["one"]


async def test_what_the_type_checks_is_refused_before_the_disk_changes(tmp_path: Path) -> None:
    def check(model: Model) -> None:
        raise ERRORS.operation_failed(f"'{model.name}' conflicts")

    service = Service(tmp_path, check)
    with pytest.raises(VirError, match="conflicts"):
        await service.definitions.define(Model("one", 1))
    assert Service(tmp_path).names() == []


async def test_an_undefined_active_object_stays_as_a_transient_one(tmp_path: Path) -> None:
    service = Service(tmp_path)
    entry = await service.definitions.define(Model("one", 1))
    await service.definitions.set_autostart(entry, on=True)
    entry.runtime = "active"
    await service.definitions.undefine(entry)
    assert (entry.is_listed, entry.is_persistent, entry.autostart) == (True, False, False)
    assert service.lifecycle()[-1] == (UNDEFINED, 0)
    assert Service(tmp_path).names() == []


async def test_a_cleanup_that_fails_leaves_the_definition(tmp_path: Path) -> None:
    service = Service(tmp_path)
    entry = await service.definitions.define(Model("one", 1))

    def refuse() -> None:
        raise ERRORS.operation_invalid("it has snapshots")

    with pytest.raises(VirError, match="snapshots"):
        await service.definitions.undefine(entry, refuse)
    assert Service(tmp_path).names() == ["one"]


async def test_a_claimed_object_is_listed_only_when_it_has_started(tmp_path: Path) -> None:
    service = Service(tmp_path)
    entry = await service.definitions.claim(Model("one", 1))
    assert service.names() == []
    assert service.registry.by_name("one") is entry


def test_files_that_do_not_name_their_object_are_left_out(tmp_path: Path) -> None:
    service = Service(tmp_path)
    for name, text in (("one", "one,1,"), ("two", "other,2,"), ("bad", "x"), ("same", "same,1,")):
        service.files.save(name, text)
    assert Service(tmp_path).names() == ["one"]


def test_a_status_file_adds_a_transient_object(tmp_path: Path) -> None:
    service = Service(tmp_path)
    service.files.save("one", "one,1,")
    stored = service.files.load()
    loaded = list(load_status(service.registry, stored, XML, parse))
    assert [(entry.name, model.number, entry.is_persistent) for entry, model in loaded] == [
        ("one", 1, False)
    ]


async def test_autostart_is_done_once_in_a_boot_and_survives_failures(tmp_path: Path) -> None:
    service = Service(tmp_path)
    for number, name in enumerate(("one", "two", "off")):
        entry = await service.definitions.define(Model(name, number))
        await service.definitions.set_autostart(entry, on=name != "off")
    started: list[str] = []
    together = 0

    async def start(entry: Thing) -> None:
        nonlocal together
        together += 1
        assert together == 1
        await asyncio.sleep(0)
        together -= 1
        started.append(entry.name)
        if entry.name == "one":
            raise ERRORS.operation_failed("it cannot start")

    await autostart(service.registry, service.files, start, parallel=1)
    assert started == ["one", "two"]
    await autostart(service.registry, service.files, start, parallel=1)
    assert started == ["one", "two"]


async def test_active_objects_are_not_started_again(tmp_path: Path) -> None:
    service = Service(tmp_path)
    entry = await service.definitions.define(Model("one", 1))
    await service.definitions.set_autostart(entry, on=True)
    entry.runtime = "active"

    async def start(entry: Thing) -> None:
        raise AssertionError(f"{entry.name} is active")

    await autostart(service.registry, service.files, start, parallel=4)


def test_every_family_numbers_its_lifecycle_events_alike() -> None:
    for family in (
        DomainEventType,
        NetworkEventLifecycleType,
        StoragePoolEventLifecycleType,
        SecretEventLifecycleType,
    ):
        assert (family.DEFINED, family.UNDEFINED) == (DEFINED, UNDEFINED)


async def test_what_could_not_be_created_leaves_no_object(tmp_path: Path) -> None:
    service = Service(tmp_path)
    with pytest.raises(OSError, match="no bridge"):
        async with service.definitions.creating(Model("one", 1)):
            raise OSError("no bridge")
    async with service.definitions.creating(Model("one", 2)) as thing:  # the name is free again
        thing.runtime = "runs"
    assert service.names() == ["one"]


async def test_a_failed_creation_keeps_the_definition_that_was_there(tmp_path: Path) -> None:
    service = Service(tmp_path)
    await service.definitions.define(Model("one", 1))
    with pytest.raises(OSError, match="no bridge"):
        async with service.definitions.creating(Model("one", 1, "other")):
            raise OSError("no bridge")
    assert service.registry.get_by_name("one").definition == Model("one", 1)


async def test_a_creation_that_gives_up_waiting_leaves_the_one_under_way(tmp_path: Path) -> None:
    service = Service(tmp_path)
    waiting = asyncio.Event()

    async def second() -> None:
        waiting.set()
        async with service.definitions.creating(Model("one", 1)):
            raise AssertionError("the first holds the lock")

    async with service.definitions.creating(Model("one", 1)) as thing:
        given_up = asyncio.create_task(second())
        await waiting.wait()
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait({given_up})
        thing.runtime = "runs"
    assert service.registry.get_by_name("one") is thing


async def test_a_creation_after_one_that_failed_is_listed(tmp_path: Path) -> None:
    service = Service(tmp_path)
    fail = asyncio.Event()

    async def first() -> None:
        async with service.definitions.creating(Model("one", 1)):
            await fail.wait()
            raise OSError("no bridge")

    async def second() -> None:
        async with service.definitions.creating(Model("one", 1)) as thing:
            thing.runtime = "runs"

    tasks = [asyncio.create_task(first()), asyncio.create_task(second())]
    for _ in range(3):  # the second waits for the lock
        await asyncio.sleep(0)
    fail.set()
    failed, succeeded = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(failed, OSError)
    assert succeeded is None
    assert service.names() == ["one"]
