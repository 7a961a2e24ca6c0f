"""A domain's resources alone: processors, memory and their tuning, without its devices.

Owns: which elements those are. Pure.

Reading and copying them takes a fraction of the time that the whole domain takes, and the calls
that set limits of a running guest need nothing else.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from conf.domain.model import Domain
from conf.domain.tuning import Blkiotune, BootMemory, Cputune, Memtune, Numatune, Vcpu, VcpuState
from conf.mapper import Mode, child, children, element, parse_root, read, write
from conf.types.size import Amount

#: The fields of `Domain` that `read_resources` reads.
RESOURCES: Final = (
    "boot_memory",
    "current_memory",
    "blkiotune",
    "memtune",
    "vcpu",
    "vcpus",
    "cputune",
    "numatune",
)


@element("domain")
@dataclass(slots=True, kw_only=True)
class DomainResources:
    """<domain> with those elements alone."""

    boot_memory: BootMemory | None = child("memory", BootMemory)
    current_memory: Amount | None = child("currentMemory", Amount)
    blkiotune: Blkiotune | None = child("blkiotune", Blkiotune)
    memtune: Memtune | None = child("memtune", Memtune)
    vcpu: Vcpu | None = child("vcpu", Vcpu)
    vcpus: list[VcpuState] = children("vcpus/vcpu", VcpuState)
    cputune: Cputune | None = child("cputune", Cputune)
    numatune: Numatune | None = child("numatune", Numatune)


def read_resources(xml: str) -> Domain:
    """Read a domain's resources; all else of the model is empty.

    Raises:
        ConfError: it is no domain's XML.
    """
    resources = read(DomainResources, parse_root(DomainResources, xml))
    domain = Domain()
    copy_fields(resources, domain)
    return domain


def format_resources(domain: Domain) -> str:
    """Format a domain's resources, for `read_resources`."""
    resources = DomainResources()
    copy_fields(domain, resources)
    return write(resources, Mode(live=True, secure=True))


def copy_fields(source: object, target: object, names: Iterable[str] = RESOURCES) -> None:
    """Have one model share fields of another."""
    for name in names:
        setattr(target, name, getattr(source, name))


def copy_for_edit(domain: Domain, names: Iterable[str]) -> Domain:
    """Copy a domain for an edit of some fields; the copy shares all others with it."""
    edited = copy.copy(domain)
    for name in names:
        value = getattr(domain, name)
        if value:
            setattr(edited, name, copy.deepcopy(value))
        elif isinstance(value, list):
            setattr(edited, name, [])
    return edited
