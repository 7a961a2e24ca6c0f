"""<qemu:capabilities>: what a domain's XML says of its QEMU against what the probe has found.

Owns: what each of libvirt's names changes in the facts that the command line is planned from.
May touch: values only.
Source: libvirt 9.0, "QEMU command-line passthrough" and qemuProcessStartUpdateCustomCaps, measured.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from conf.domain import Domain
from conf.emulator import EmulatorFacts
from conf.errors import ConfError
from supervisor.workers.qemu.start import libvirt_capabilities as known
from supervisor.workers.qemu.start.capability_names import NAMES

log = logging.getLogger(__name__)

#: Fields of the facts that are sets of names.
SETS: Final = ("devices", "objects", "commands", "tpm_models", "tpm_types")


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact about a QEMU."""

    field: str  # of `EmulatorFacts`
    name: str
    group: str = ""  # of "backends"


def apply_capabilities(domain: Domain, facts: EmulatorFacts) -> EmulatorFacts:
    """Return the facts with what the domain adds to them and removes.

    Raises:
        ConfError: "internal": libvirt has no such capability.
    """
    for name, wanted in changes(domain):
        if name not in NAMES:
            raise ConfError("internal", f"invalid qemu namespace capability '{name}'")
        found = fact_of(name)
        if found is None:
            detail = "%s: nothing is planned by the capability '%s': the option has one form here"
            log.warning(detail, domain.name, name)
        else:
            facts = _with_fact(facts, found, wanted=wanted)
    return facts


def changed_flags(domain: Domain, flags: list[str]) -> list[str]:
    """Return the flags of the status file as the domain wants them."""
    result = set(flags)
    for name, wanted in changes(domain):
        (result.add if wanted else result.discard)(name)
    return sorted(result)


def changes(domain: Domain) -> Iterator[tuple[str, bool]]:
    """List the capabilities that the domain adds, then those that it removes."""
    custom = domain.qemu_capabilities
    if custom is not None:
        yield from ((item.capability, True) for item in custom.added)
        yield from ((item.capability, False) for item in custom.removed)


def fact_of(name: str) -> Fact | None:
    """Return the fact that a capability stands for; None if nothing is planned by it."""
    if name in known.SAME_DEVICE:
        return Fact("devices", name)
    if name in known.SAME_OBJECT:
        return Fact("objects", name)
    if name in known.SAME_COMMAND:
        return Fact("commands", name)
    if name in known.TPM_MODELS:
        return Fact("tpm_models", name)
    return FACTS.get(name)


def _with_fact(facts: EmulatorFacts, fact: Fact, *, wanted: bool) -> EmulatorFacts:
    change = frozenset.union if wanted else frozenset.difference
    if fact.field in SETS:
        changed = change(getattr(facts, fact.field), {fact.name})
        return msgspec.structs.replace(facts, **{fact.field: changed})
    if fact.field == "options":
        options = {name: members for name, members in facts.options.items() if name != fact.name}
        if wanted:
            options[fact.name] = facts.options.get(fact.name, frozenset())
        return msgspec.structs.replace(facts, options=options)
    group = change(facts.backends.get(fact.group, frozenset()), {fact.name})
    return msgspec.structs.replace(facts, backends={**facts.backends, fact.group: group})


def _facts() -> Iterator[tuple[str, Fact]]:
    """Turn the tables round: the first flag that a part has is the one that stands for it."""
    tables: list[tuple[dict[str, str], str, str]] = [
        (known.DEVICES, "devices", ""),
        (known.OPTIONS, "options", ""),
        (known.TPM, "tpm_types", ""),
        *((backends, "backends", group) for group, backends in known.BACKENDS.items()),
    ]
    for table, field, group in tables:
        for name, flags in table.items():
            flag = flags.split()[0]
            # "virtio-blk-pci.scsi" says something of the device, not whether there is one.
            if field != "devices" or "." not in flag:
                yield flag, Fact(field, name, group)


FACTS: Final = dict(_facts())
