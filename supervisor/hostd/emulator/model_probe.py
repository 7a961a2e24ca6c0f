"""Queries QEMU for the features of each named CPU model and caches them on disk.

Owns: the file `paths.cache/qemu/capabilities/<hash>.models.json`.
May touch: the binary, through `supervisor.hostd.emulator.probe`. May not touch: guests, the bus.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import msgspec

from conf.emulator import EmulatorFacts, Property
from supervisor.hostd.cpu.feature_names import from_qemu
from supervisor.hostd.cpu.models import Model
from supervisor.hostd.emulator.probe import (
    BinaryIdentity,
    cache_file,
    identify,
    run_qmp,
    save_cache,
)
from supervisor.hostd.emulator.qmp_queries import Query

EXPAND: Final = "query-cpu-model-expansion"
VENDORS: Final = {"GenuineIntel": "Intel", "AuthenticAMD": "AMD", "HygonGenuine": "Hygon"}
#: Models of no vendor: QEMU's own, and CPUs that several vendors made.
VENDOR_NEUTRAL: Final = re.compile(r"(qemu|kvm)(32|64)|486|pentium.*")
VERSIONED: Final = re.compile(r".*-v\d+")
SPECIAL_MODELS: Final = frozenset({"base", "host", "max"})
HYPERVISOR: Final = "hypervisor"  # CPUID bit that the accelerator sets in every guest


class _Expanded(msgspec.Struct):
    props: dict[str, Property]


class _Expansion(msgspec.Struct):
    model: _Expanded


class _Cached(msgspec.Struct, frozen=True):
    identity: BinaryIdentity
    models: tuple[Model, ...]


async def probe_models(facts: EmulatorFacts, cache_dir: Path) -> tuple[Model, ...]:
    """Return the named models of an emulator, from the cache if it is valid.

    Raises:
        ProbeError: the binary is missing, fails, or does not reply.
    """
    identity = identify(facts.binary)
    path = cache_file(cache_dir, facts.binary).with_suffix(".models.json")
    try:
        cached = msgspec.json.decode(path.read_bytes(), type=_Cached)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        cached = None
    if cached is not None and cached.identity == identity:
        return cached.models
    models = await query_models(facts)
    save_cache(path, msgspec.json.encode(_Cached(identity, models)))
    return models


async def query_models(facts: EmulatorFacts) -> tuple[Model, ...]:
    """Query the expansion of every named model.

    Raises:
        ProbeError: the binary is missing, fails, or does not reply.
    """
    names = [
        model.name
        for model in facts.tcg.cpu_models
        if model.name not in SPECIAL_MODELS and not VERSIONED.fullmatch(model.name)
    ]
    replies = await run_qmp(facts.binary, "tcg", [Query(EXPAND, name) for name in names])
    models = []
    for name in sorted(names):
        expansion = replies.get(Query(EXPAND, name), _Expansion)
        if expansion is not None:
            models.append(read_model(name, expansion.model.props))
    return tuple(models)


def read_model(name: str, properties: dict[str, Property]) -> Model:
    """Convert QEMU's expansion of a model to libvirt's names."""
    on = {key: True for key, value in properties.items() if value is True}
    vendor = VENDORS.get(str(properties.get("vendor", "")), "")
    neutral = VENDOR_NEUTRAL.fullmatch(name) is not None
    return Model(name, "" if neutral else vendor, from_qemu(on) - {HYPERVISOR})
