"""CPU models: nearest model of a feature set, comparison, baseline. Pure.

Owns: the selection among models.
May not touch: files, QEMU, XML.
Source: libvirt 9.0 virConnectCompareCPU, virConnectBaselineCPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

#: Features that block migration: an invariant TSC has the source's frequency.
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
    """A CPU as a model and the features that differ."""

    model: str
    vendor: str
    require: frozenset[str] = field(default_factory=frozenset)
    disable: frozenset[str] = field(default_factory=frozenset)


class Models:
    """The models of one architecture."""

    def __init__(self, models: Iterable[Model]) -> None:
        """Index the models; their order is that of `names`."""
        self._by_name = {model.name: model for model in models}

    def names(self) -> list[str]:
        """List the names of the models."""
        return list(self._by_name)

    def get(self, name: str) -> Model | None:
        """Return the model of a name."""
        return self._by_name.get(name)

    def feature_names(self) -> frozenset[str]:
        """Return every feature that a model has."""
        return frozenset().union(*(model.features for model in self._by_name.values()))

    def features(self, cpu: Cpu) -> frozenset[str]:
        """Return all features of a CPU.

        Raises:
            KeyError: there is no such model.
        """
        return (self._by_name[cpu.model].features | cpu.require) - cpu.disable

    def describe(
        self, features: frozenset[str], vendor: str, *, among: Sequence[str] = ()
    ) -> Cpu | None:
        """Describe a set of features by the model with the fewest differences.

        Args:
            features: of the CPU.
            vendor: only models of this vendor or of none.
            among: only these models; empty for all.
        """
        best: Cpu | None = None
        best_cost: tuple[int, int] | None = None
        for model in self._by_name.values():
            if (among and model.name not in among) or model.vendor not in ("", vendor):
                continue
            missing = model.features - features
            # Features of the model that the CPU lacks weigh more: every guest has to disable them.
            cost = (len(missing), len(features - model.features))
            if best_cost is None or cost < best_cost:
                best_cost = cost
                best = Cpu(model.name, vendor, features - model.features, missing)
        return best


def compare(host: frozenset[str], guest: frozenset[str], *, strict: bool) -> Comparison:
    """Compare a guest's features with the host's.

    Args:
        host: features of the host.
        guest: features of the guest.
        strict: the host may have no other features.
    """
    if guest - host:
        return Comparison.INCOMPATIBLE
    if host == guest:
        return Comparison.IDENTICAL
    return Comparison.INCOMPATIBLE if strict else Comparison.SUPERSET


def baseline(sets: Sequence[frozenset[str]], *, migratable: bool) -> frozenset[str]:
    """Return the features that all CPUs have."""
    shared = frozenset.intersection(*sets)
    return shared - NOT_MIGRATABLE if migratable else shared
