"""Every word of a domain's document is acted on, refused, or listed here with the reason.

The recorded documents and a few of our own are planned, and each field of the model that the plan
or a refusal looks at is noted. So a field that is added to the model, and that nobody reads, fails.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import pytest

from conf.domain import Domain, parse_domain
from conf.domain.addresses.assign import assign_addresses
from conf.emulator import EmulatorFacts
from conf.errors import ConfError
from supervisor.workers.qemu.aliases import assign_aliases
from supervisor.workers.qemu.argv.launch import plan_launch
from supervisor.workers.qemu.argv.launch_inputs import LaunchInputs
from supervisor.workers.qemu.block.iotune import throttle_commands
from supervisor.workers.qemu.cgroup.settings import guest_limits, thread_limits
from supervisor.workers.qemu.start.custom_capabilities import apply_capabilities
from supervisor.workers.qemu.start.unsupported import check_supported, unsupported_elements
from tests.qemu_binary import facts
from tests.recorded_qemu import SAME_QEMU
from tests.unit.workers.qemu.argv.argv_corpus import CORPUS
from tests.unit.workers.qemu.argv.argv_options import ELSEWHERE, EVERYWHERE, OWN, SECRETS
from tests.unit.workers.qemu.argv.argv_plan import GENERATED, runtime


class AllDevices(Mapping[str, str]):
    """Every path is a block device's."""

    def __getitem__(self, path: str) -> str:
        return "8:0"

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


COPYING: Final = dataclasses.replace.__code__
Word = tuple[str, str]  # a class of the model, and its field


def models(kind: type, result: set[type]) -> set[type]:
    """The classes of the model that a class is made of, itself included."""
    if (
        kind not in result
        and dataclasses.is_dataclass(kind)
        and kind.__module__.startswith("conf.")
    ):
        result.add(kind)
        hints = typing.get_type_hints(kind)
        for field in dataclasses.fields(kind):
            for part in parts(hints[field.name]):
                models(part, result)
    return result


def parts(hint: object) -> Iterator[type]:
    """The classes in a type."""
    arguments = typing.get_args(hint)
    if isinstance(hint, type) and not arguments:
        yield hint
    for argument in arguments:
        yield from parts(argument)


class Watch:
    """Notes which fields are read while `on`."""

    def __init__(self, kinds: set[type], patch: pytest.MonkeyPatch) -> None:
        self.read: set[Word] = set()
        self.on = False
        for kind in kinds:
            patch.setattr(kind, "__getattribute__", self._noting(kind))

    def _noting(self, kind: type) -> Callable[[object, str], object]:
        names = frozenset(field.name for field in dataclasses.fields(kind))

        def get(instance: object, name: str) -> object:
            # a copy looks at every field, and acts on none
            if self.on and name in names and sys._getframe(1).f_code is not COPYING:
                self.read.add((kind.__name__, name))
            return object.__getattribute__(instance, name)

        return get

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Note what is read within."""
        self.on = True
        try:
            yield
        finally:
            self.on = False


def documents() -> Iterator[str]:
    """What is planned."""
    yield from OWN
    for line in CORPUS.read_text().splitlines():
        record: dict[str, str] = json.loads(line)
        if "output" in record:
            yield record["output"].replace("@UUID@", GENERATED)


def prepared(document: str) -> tuple[Domain, EmulatorFacts] | None:
    """A domain that may be planned here; None where this emulator cannot have it."""
    try:
        domain = parse_domain(document)
        emulator = facts(domain.devices.emulator or "")
        domain.type = "qemu"
        assign_addresses(domain, emulator)
    except (ConfError, OSError):
        return None
    assign_aliases(domain)
    return domain, emulator


def brought(domain: Domain) -> LaunchInputs:
    """What the worker brings, secrets included."""
    return dataclasses.replace(runtime(domain), secrets=SECRETS)


@SAME_QEMU
@pytest.mark.skipif(not CORPUS.exists(), reason=f"no recordings at {CORPUS}")
def test_each_field_is_acted_on_or_refused_or_listed_with_its_reason(
    emulator_facts: EmulatorFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert emulator_facts.machines
    kinds = models(Domain, set())
    watch = Watch(kinds, monkeypatch)
    planned = 0
    for document in documents():
        result = prepared(document)
        if result is None:
            continue
        domain, emulator = result
        planned += 1
        with watch.watching():
            list(unsupported_elements(domain))
            with contextlib.suppress(ConfError):
                check_supported(domain)
            apply_capabilities(domain, emulator)
            for disk in domain.devices.disks:
                throttle_commands(disk)
            with contextlib.suppress(ConfError):
                guest_limits(domain, frozenset(), AllDevices(), bfq=False)
            for thread in ("emulator", "vcpu0", "iothread1"):
                thread_limits(domain, thread, frozenset(), lambda _: True)
            with contextlib.suppress(ConfError):
                plan_launch(domain, emulator, brought(domain))
    assert planned > 300
    values = {(kind.__name__, field.name) for kind in kinds for field in dataclasses.fields(kind)}
    listed = {(kind, name) for kind, names in ELSEWHERE.items() for name in names}
    unread = {text for text in values - watch.read - listed if text[1] not in EVERYWHERE}
    assert not unread, "fields without effect"
    assert not listed - values, "listed, but no field of the model"
    read_too = listed & watch.read
    assert not read_too, "listed, though the plan reads it"


@pytest.mark.parametrize("document", OWN)
def test_our_own_documents_are_planned(document: str, emulator_facts: EmulatorFacts) -> None:
    assert emulator_facts.machines
    result = prepared(document)
    assert result is not None
    domain, emulator = result
    assert list(unsupported_elements(domain)) == []
    assert plan_launch(domain, emulator, brought(domain)).argv
