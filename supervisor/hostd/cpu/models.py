"""Which named CPU model fits a set of features: the host's model, comparing, the baseline. Pure.

Owns: the choice among models.
May not touch: files, QEMU, XML.
Source: libvirt 9.0 virConnectCompareCPU, virConnectBaselineCPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

#: Features that a guest cannot take to another host.
NOT_MIGRATABLE: Final = frozenset({"invtsc"})


class Comparison(IntEnum):
    """virCPUCompareResult (protocol/enums.json)."""

    INCOMPATIBLE = 0
    IDENTICAL = 1
    SUPERSET = 2


@dataclass(frozen=True, slots=True)
class Model:
    """A named CPU model."""

    name: str
    vendor: str  # "Intel", "AMD", "Hygon" or "" for any
    features: frozenset[str]


@dataclass(frozen=True, slots=True)
class Cpu:
    """A CPU as a model and what differs from it."""

    model: str
    vendor: str
    require: frozenset[str] = field(default_factory=frozenset)
    disable: frozenset[str] = field(default_factory=frozenset)


class Models:
    """The models of one architecture."""

    def __init__(self, models: Iterable[Model]) -> None:
        """Know the models, in the order in which they are named to users."""
        self._by_name = {model.name: model for model in models}

    def names(self) -> list[str]:
        """Every model's name."""
        return list(self._by_name)

    def get(self, name: str) -> Model | None:
        """The model of that name."""
        return self._by_name.get(name)

    def features(self, cpu: Cpu) -> frozenset[str]:
        """Everything the CPU has.

        Raises:
            KeyError: there is no such model.
        """
        return (self._by_name[cpu.model].features | cpu.require) - cpu.disable

    def describe(
        self, features: frozenset[str], vendor: str, *, among: Sequence[str] = ()
    ) -> Cpu | None:
        """Describe a set of features by the model that leaves the fewest differences.

        Args:
            features: everything that the CPU has.
            vendor: models of other vendors are left aside.
            among: the only models that may be chosen; empty for all.
        """
        best: Cpu | None = None
        best_cost: tuple[int, int] | None = None
        for model in self._by_name.values():
            if (among and model.name not in among) or model.vendor not in ("", vendor):
                continue
            missing = model.features - features
            # What a model has too much weighs more: it must be taken away in every guest.
            cost = (len(missing), len(features - model.features))
            if best_cost is None or cost < best_cost:
                best_cost = cost
                best = Cpu(model.name, vendor, features - model.features, missing)
        return best


def compare(host: frozenset[str], guest: frozenset[str], *, strict: bool) -> Comparison:
    """Say whether the host can give a guest these features.

    Args:
        host: what the host has.
        guest: what the guest asks for.
        strict: the host may have nothing more.
    """
    if guest - host:
        return Comparison.INCOMPATIBLE
    if host == guest:
        return Comparison.IDENTICAL
    return Comparison.INCOMPATIBLE if strict else Comparison.SUPERSET


def baseline(sets: Sequence[frozenset[str]], *, migratable: bool) -> frozenset[str]:
    """What all the CPUs have."""
    shared = frozenset.intersection(*sets)
    return shared - NOT_MIGRATABLE if migratable else shared
