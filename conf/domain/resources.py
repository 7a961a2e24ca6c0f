"""A domain's resources alone: processors, memory and their tuning, without its devices.

Owns: which elements those are. Pure.

Reading and copying them takes a fraction of the time that the whole domain takes, and the calls
that set limits of a running guest need nothing else.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any, Final

from conf.domain.model import Domain
from conf.domain.tuning import Blkiotune, BootMemory, Cputune, Memtune, Numatune, Vcpu, VcpuState
from conf.mapper import child, children, element, parse_root, read
from conf.types.size import Amount

PLAIN: Final = (type(None), str, int)  # need no copy; enumerations and booleans are among them
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


def copy_fields(source: object, target: object, names: Iterable[str] = RESOURCES) -> None:
    """Have one model share fields of another."""
    for name in names:
        setattr(target, name, getattr(source, name))


def copy_for_edit(domain: Domain, names: Iterable[str]) -> Domain:
    """Copy a domain for an edit of some fields; the copy shares all others with it."""
    edited = copy.copy(domain)
    for name in names:
        setattr(edited, name, copy_value(getattr(domain, name)))
    return edited


def copy_value(value: Any) -> Any:  # noqa: ANN401  (any value of a model)
    """Copy a value of a model with all that is in it; `copy.deepcopy` takes ten times as long."""
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, list):
        return [copy_value(item) for item in value]
    names = _names(type(value))  # type: ignore[arg-type]  # (hashable)
    if not names:
        return copy.deepcopy(value)
    copied = object.__new__(type(value))
    for name in names:
        inner = getattr(value, name)  # most are plain: a call for each would take longer
        setattr(copied, name, inner if isinstance(inner, PLAIN) else copy_value(inner))
    return copied


@cache
def _names(model: type) -> tuple[str, ...]:
    """Return the fields of a class of models; none: it is another class."""
    is_plain = is_dataclass(model) and not model.__dataclass_params__.frozen  # type: ignore[attr-defined]
    return tuple(place.name for place in fields(model)) if is_plain else ()
