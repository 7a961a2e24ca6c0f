"""CPU models: nearest model of a feature set, comparison, baseline. Pure.

Owns: the selection among models.
May not touch: files, QEMU, XML.
Source: libvirt 9.0 virConnectCompareCPU, virConnectBaselineCPU, x86Decode; measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
class Signature:
    """The numbers by which a processor says what it is (CPUID leaf 1)."""

    family: int
    model: int
    steppings: frozenset[int] = frozenset()  # empty: any


@dataclass(frozen=True, slots=True)
class CpuidBit:
    """Where CPUID reports a feature."""

    leaf: int  # EAX of the query
    subleaf: int  # ECX of the query
    register: str  # "eax", "ebx", "ecx" or "edx" of the answer
    mask: int


@dataclass(frozen=True, slots=True)
class Model:
    """A named CPU model."""

    name: str
    vendor: str  # "Intel", "AMD", "Hygon" or "" for any
    features: frozenset[str]
    signatures: tuple[Signature, ...] = ()  # of the processors that it is made after
    describes_hosts: bool = True  # a host's processor may be called by this name
    describes_guests: bool = True  # a guest's may
    removed: tuple[str, ...] = ()  # features that it had once: a guest has them off if unsaid


@dataclass(frozen=True, slots=True)
class Cpu:
    """A CPU as a model and the features that differ, both in the order of `Models.order`."""

    model: str
    vendor: str
    require: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hypervisor:
    """What a hypervisor says of the models: those that it has, and what each lacks here."""

    missing: Mapping[str, frozenset[str]]  # by model: features of it that cannot be provided

    def has(self, name: str) -> bool:
        """Return whether the hypervisor knows the model."""
        return name in self.missing


class Models:
    """The models of one architecture."""

    def __init__(
        self,
        models: Iterable[Model],
        order: Sequence[str] = (),
        not_migratable: frozenset[str] = NOT_MIGRATABLE,
        bits: Mapping[str, CpuidBit] | None = None,
        owners: Mapping[str, str] | None = None,
    ) -> None:
        """Index the models; their order is that of `names`.

        Args:
            models: the models, older ones first.
            order: every feature there is, as they are listed; those that are missing follow.
            not_migratable: features with which a guest cannot be moved.
            bits: where CPUID reports the features; None: it is not known.
            owners: of features that CPUID does not report: that without which none has them.
        """
        self._by_name = {model.name: model for model in models}
        known = frozenset(order).union(*(each.features for each in self._by_name.values()))
        rest = sorted(known - frozenset(order))
        self._order = {name: number for number, name in enumerate((*order, *rest))}
        self.not_migratable = not_migratable
        self.bits = bits or {}
        self.owners = owners or {}

    def names(self) -> list[str]:
        """List the names of the models."""
        return list(self._by_name)

    def get(self, name: str) -> Model | None:
        """Return the model of a name."""
        return self._by_name.get(name)

    def feature_names(self) -> frozenset[str]:
        """Return every feature that is known."""
        return frozenset(self._order)

    def order(self, features: Iterable[str]) -> tuple[str, ...]:
        """Put features in the order in which documents list them."""
        last = len(self._order)
        return tuple(sorted(features, key=lambda name: (self._order.get(name, last), name)))

    def features(self, cpu: Cpu) -> frozenset[str]:
        """Return all features of a CPU.

        Raises:
            KeyError: there is no such model.
        """
        own = self._by_name[cpu.model].features
        return (own | frozenset(cpu.require)) - frozenset(cpu.disable)

    def describe(
        self,
        features: frozenset[str],
        vendor: str,
        *,
        among: Sequence[str] = (),
        signature: Signature | None = None,
        hypervisor: Hypervisor | None = None,
        of_host: bool = False,
    ) -> Cpu | None:
        """Describe a set of features by a model and the differences from it.

        Args:
            features: of the CPU.
            vendor: only models of this vendor or of none; "": of any.
            among: only these models; empty for all.
            signature: of the processor: a model that is made after it is better than any other,
                and then the one with the fewest differences.
            hypervisor: only models that it has; what it cannot provide of one is disabled.
            of_host: the CPU is a host's: it has every feature of its model.
        """
        best: Cpu | None = None
        best_cost: tuple[bool, int, int] | None = None
        for model in reversed(self._by_name.values()):  # of equal ones the newer is taken
            if among and model.name not in among:
                continue
            if hypervisor is not None and not hypervisor.has(model.name):
                continue
            if vendor and model.vendor and model.vendor != vendor:
                continue
            if not (model.describes_hosts if of_host else model.describes_guests):
                continue
            require = features - model.features
            disable = model.features - features
            if hypervisor is not None:
                disable |= (hypervisor.missing[model.name] & self._order.keys()) - require
            if of_host and disable:
                continue
            penalty = len(disable)
            if signature is None and not of_host:
                # Not a real processor: programs may stumble over the lack of a feature that one of
                # this name has, so each further one that is disabled costs more than that before.
                penalty = len(disable) * (len(disable) + 1) // 2
            cost = not matches(model, signature), len(require) + penalty, len(disable)
            if best_cost is None or cost < best_cost:
                best_cost = cost
                best = Cpu(model.name, vendor, self.order(require), self.order(disable))
        return best


def matches(model: Model, signature: Signature | None) -> bool:
    """Return whether a model is made after the processors of a signature."""
    return signature is not None and any(
        (each.family, each.model) == (signature.family, signature.model)
        and (not each.steppings or not signature.steppings.isdisjoint(each.steppings))
        for each in model.signatures
    )


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
