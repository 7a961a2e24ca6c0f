"""Builds random models of any mapped class, from what its fields say of themselves."""

from __future__ import annotations

import dataclasses
import types
import typing
from functools import cache

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from conf.domain.cpu import CpuModelName, Numa
from conf.domain.devices.address import MAX_BUS, MAX_FUNCTION, MAX_SLOT, PciAddress, UsbAddress
from conf.domain.devices.addressing import Ip
from conf.domain.devices.chardev import CharDevice, CharEnd, CharSource
from conf.domain.devices.controller import Controller, ControllerTarget
from conf.domain.devices.hostdev import TYPES, HostAddress, Hostdev
from conf.domain.devices.input import Input
from conf.domain.devices.interface import Interface, PortForward
from conf.domain.devices.memballoon import Memballoon
from conf.domain.devices.memory import MemoryDevice, MemoryTarget
from conf.domain.devices.smartcard import Smartcard
from conf.domain.devices.source import (
    Cookie,
    Reconnect,
    Reservations,
    SecretReference,
    Source,
    SourceHost,
)
from conf.domain.devices.tpm import Tpm, TpmBackend
from conf.domain.model import TYPES as DOMAIN_TYPES
from conf.domain.qemu_namespace import OverrideProperty
from conf.domain.tuning import NumaMemory, Vcpu
from conf.errors import ConfError
from conf.mapper import Mode, write
from conf.mapper.spec import KEY, Choice, FieldSpec, default_write
from conf.types.bandwidth import Rate
from conf.types.cpuset import format_cpuset
from conf.types.enum import OneOf
from conf.types.integer import BoundedInteger
from conf.types.size import Amount

WRITABLE = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff")
    | st.sampled_from("\t\n&<>'\""),
    min_size=1,
    max_size=12,
).filter(lambda word: word.strip() == word)
SETS = st.frozensets(st.integers(0, 40), min_size=1, max_size=6).map(format_cpuset)
NUMBERS = st.integers(1, 1 << 30)
UUIDS = st.uuids().map(str)
COOKIE_PARTS = st.text("abcxyz019", min_size=1, max_size=8)


@cache
def models(model: type) -> SearchStrategy[object]:
    """Models of the class."""
    hints = typing.get_type_hints(model)
    fields = {
        place.name: field_values(hints[place.name], place)
        for place in dataclasses.fields(model)
        if KEY in place.metadata
    }
    specs = [place.metadata[KEY] for place in dataclasses.fields(model) if KEY in place.metadata]
    inner = any(spec.path or spec.kind not in ("attribute", "text") for spec in specs)
    for place in dataclasses.fields(model):
        spec = place.metadata.get(KEY)
        if inner and spec is not None and spec.kind == "text" and not spec.path:
            fields[place.name] = st.none()  # an element has text of its own or inner elements
    fields |= particular_fields(model)
    return st.builds(model, **fields).map(as_read).filter(lambda model: model is not None)


def particular_fields(model: type) -> dict[str, SearchStrategy[object]]:
    """What some fields hold that their readers alone do not tell."""
    fields: dict[str, SearchStrategy[object]] = {}
    if model is Tpm:  # random lists would be rejected too often for Hypothesis
        backends = models(TpmBackend).filter(lambda backend: getattr(backend, "type", ""))
        fields["backends"] = st.lists(backends, min_size=1, max_size=1)
    if model is Hostdev:
        kinds = [kind for kind in TYPES["subsystem"] if kind != "mdev"]  # which needs a model
        fields["mode"], fields["type"] = st.just("subsystem"), st.sampled_from(kinds)
        fields["capability_source"] = fields["model"] = st.none()
    if model is Ip:
        fields["address"] = st.ip_addresses().map(str)
        fields |= {"family": st.none(), "peer": st.none(), "prefix": st.none() | st.integers(1, 32)}
    if model is Memballoon:  # "none" has neither address nor alias
        fields["model"] = st.sampled_from(("virtio", "virtio-non-transitional"))
    if issubclass(model, CharSource):
        fields["ends"] = st.lists(models(CharEnd), max_size=1)
    if model is Input:  # a <source> names the host's device
        fields["source_dev"] = fields["source_evdev"] = WRITABLE
    if model is PortForward:
        fields["address"] = st.none() | st.ip_addresses().map(str)
    if model is Interface:
        fields["backend_type"] = st.none()  # there is none that libvirt 9.0 knows in Debian
    if model is Smartcard:
        fields["type"] = st.sampled_from(("pty", "spicevmc"))
        fields["database"] = st.none() | WRITABLE.map(lambda name: f"/{name}")
        fields["certificates"] = st.lists(WRITABLE, min_size=3, max_size=3)
    return fields | bounded_fields(model)


def bounded_fields(model: type) -> dict[str, SearchStrategy[object]]:
    """What fields hold whose bounds are the model's, not their reader's."""
    places = {"bus": MAX_BUS, "slot": MAX_SLOT, "function": MAX_FUNCTION}
    bounds = {name: st.integers(0, most) for name, most in places.items()}
    host = {**bounds, "pci_bus": bounds["bus"]}
    ports = st.lists(st.integers(0, 9).map(str), min_size=1, max_size=4).map(".".join)
    registers = ("chassis_nr", "chassis", "port")
    fields: dict[type, dict[str, SearchStrategy[object]]] = {
        PciAddress: {**bounds},
        HostAddress: {name: st.none() | each for name, each in (host | {"uuid": UUIDS}).items()},
        UsbAddress: {"port": st.none() | ports},
        SourceHost: {"port": st.none() | st.integers(0, 65535).map(str)},
        CpuModelName: {"vendor_id": st.none() | st.text("abcXYZ 019", min_size=12, max_size=12)},
        Reconnect: {"timeout": st.integers(1, 9)},
        SecretReference: {"uuid": UUIDS, "usage": st.none()},
        Reservations: {"managed": st.just(True)},
        Rate: {"average": NUMBERS},
        Cookie: {"name": COOKIE_PARTS, "value": COOKIE_PARTS},
        CharDevice: {"target_type": st.sampled_from(("virtio", "xen"))},  # as channels must have
        Controller: {"model": st.none()},
        ControllerTarget: {name: st.none() | st.integers(1, 255) for name in registers},
        Numa: {"interconnects": st.none()},
        TpmBackend: {"type": st.sampled_from(("passthrough", "emulator"))},
        # With "auto" nothing is written that numad advises.
        Vcpu: {"placement": st.none() | st.just("static")},
        NumaMemory: {"placement": st.none() | st.just("static")},
        OverrideProperty: {"name": st.just("x"), "type": st.just("string"), "value": WRITABLE},
    }
    if model is MemoryTarget:
        return {"size_amount": models(Amount)}
    if model is MemoryDevice:
        return {"target": models(MemoryTarget)}
    return fields.get(model, {})


def as_read(model: object) -> object:
    """The model as it is once it was read; None where it has parts that cannot be together."""
    places = [(p.name, p.metadata[KEY]) for p in dataclasses.fields(model) if KEY in p.metadata]  # type: ignore[arg-type]
    for name, spec in places:
        if spec.default_when_absent is not None and getattr(model, name) is None:
            beside = [pair for pair in places if pair[1].path[: len(spec.path)] == spec.path]
            if any(is_written(getattr(model, other), its) for other, its in beside):
                setattr(model, name, spec.default_when_absent)
    for name, spec in places:
        value = getattr(model, name)
        if spec.kind == "child" and getattr(value, "__omit_empty__", False) and not written(value):
            setattr(model, name, None)
    for name, spec in places:
        by = (
            spec.when
            and not spec.when.outer
            and next(n for n, its in places if its.name == spec.when.attribute)
        )
        if by and default_write(getattr(model, by)) not in spec.when.values:
            setattr(model, name, getattr(type(model)(), name))
    try:
        finish(model, [name for name, spec in places if spec.kind == "child"])
    except ConfError:
        return None
    return None if model == Source() else model  # an empty one is not written


def finish(model: object, children: list[str]) -> None:
    """Do what reading ends with, again where it dropped all that a source says.

    Raises:
        ConfError: the model has parts that cannot be together.
    """
    after_read = getattr(model, "after_read", None)
    if after_read is None:
        return
    after_read()
    emptied = [name for name in children if is_left_out(getattr(model, name))]
    for name in emptied:
        setattr(model, name, None)
    if emptied:
        after_read()


def is_left_out(child: object) -> bool:
    """Whether nothing is written of a child."""
    omits = getattr(child, "__omit_empty__", False)
    return child == Source() or (omits and not written(child))


def written(model: object) -> str:
    """The model's document; empty if it is left out."""
    return write(model, Mode(live=True, secure=True)).strip()


def is_written(value: object, spec: FieldSpec) -> bool:
    """Whether a value makes the elements that lead to its place."""
    return value is not None and value != [] and not (spec.kind == "flag" and value is False)


def consistent(items: list[object], spec: FieldSpec) -> list[object]:
    """The list, or none of it where its elements contradict each other."""
    try:
        if items and spec.check is not None:
            spec.check(items)
    except ConfError:
        return []
    return items


def field_values(hint: object, place: dataclasses.Field[object]) -> SearchStrategy[object]:
    """What a field may hold."""
    spec: FieldSpec = place.metadata[KEY]
    match spec.kind:
        case "flag":
            return st.booleans()
        case "child":
            return st.none() | of_class(spec)
        case "children":
            return st.lists(of_class(spec), max_size=2).map(lambda items: consistent(items, spec))
        case "texts":
            return st.lists(WRITABLE, max_size=2)
        case "verbatim":
            return st.none()
    if place.name == "unit" or place.name.endswith("_unit"):
        return st.just(place.default)  # amounts are counted in that unit once they were read
    values = of_type(bare(hint), spec).filter(lambda value: value != spec.omit)
    text = not spec.path and (spec.required or spec.default_when_absent is not None)
    optional = hint != bare(hint) and not text
    return st.none() | values if optional else values


def of_class(spec: FieldSpec) -> SearchStrategy[object]:
    """Models of a child's class, or of any that it may have."""
    if isinstance(spec.model, Choice):
        chosen = spec.model.classes.items()
        return st.one_of([chosen_by(spec.model.by, text, model) for text, model in chosen])
    if not isinstance(spec.model, type):
        return st.nothing()  # it contains itself: one level is enough
    return models(spec.model)


def chosen_by(attribute: str, text: str, model: type) -> SearchStrategy[object]:
    """Models of a class that an attribute's word chooses."""
    name = next(
        place.name
        for place in dataclasses.fields(model)
        if KEY in place.metadata and place.metadata[KEY].name == attribute
    )

    def choose(built: object) -> object:
        setattr(built, name, text)
        return built

    return models(model).map(choose)


def bare(hint: object) -> object:
    """The type without None."""
    if isinstance(hint, types.UnionType):
        return next(part for part in typing.get_args(hint) if part is not type(None))
    return hint


def of_type(kind: object, spec: FieldSpec) -> SearchStrategy[object]:
    """Values that the field's own reader gives."""
    if kind is bool:
        return st.booleans()
    if kind is int and isinstance(spec.read, BoundedInteger):
        return st.integers(max(spec.read.low, 1), min(spec.read.high, 1 << 30))
    if kind is int:
        return NUMBERS
    if isinstance(spec.read, OneOf):
        return st.sampled_from(spec.read.values)
    name = getattr(spec.read, "__qualname__", "")
    if "cpuset" in name:
        return SETS
    if name == "domain_type":
        return st.sampled_from(DOMAIN_TYPES.values)
    if name == "create_mode":
        return st.integers(0, 0o7777).map(lambda mode: f"{mode:04o}")
    if name == "unicast_mac":
        return st.binary(min_size=5, max_size=5).map(lambda tail: "52:" + tail.hex(":"))
    if "uuid" in name or spec.path == ("genid",):
        return UUIDS
    return WRITABLE
