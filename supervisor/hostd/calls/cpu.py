"""CPU model names, comparison and baseline (virConnectCompareCPU, virConnectBaselineCPU).

Owns: one method per procedure, named as in the table.
May touch: emulators through `supervisor.hostd.emulator.emulators`. May not touch: guests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.service_errors import HOST_ERRORS
from supervisor.hostd.cpu.cpu_xml import CpuXml, cpu_error, guest_features, read_cpu, write_cpu
from supervisor.hostd.cpu.feature_names import qemu_feature_names
from supervisor.hostd.cpu.host_cpu import accelerator_features, host_features
from supervisor.hostd.cpu.models import NOT_MIGRATABLE, Comparison, Models, baseline, compare
from supervisor.hostd.emulator.emulators import (
    ARCHITECTURES,
    FAMILY,
    Emulators,
    accelerator,
    qemu_error,
)
from supervisor.hostd.node.node import Node
from supervisor.runtime.host import host_arch

FAIL_INCOMPATIBLE = 1  # VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE
VALIDATE_XML = 2  # VIR_CONNECT_COMPARE_CPU_VALIDATE_XML
EXPAND_FEATURES = 1  # VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES
MIGRATABLE = 2  # VIR_CONNECT_BASELINE_CPU_MIGRATABLE


class CpuCalls:
    """Compares CPUs and computes baselines."""

    def __init__(self, node: Node, emulators: Emulators) -> None:
        self._node = node
        self._emulators = emulators

    async def connect_get_cpu_model_names(
        self, call: ClientCall, arch: str, need_results: int, flags: int
    ) -> tuple[list[str], int]:
        """List the CPU models of an architecture.

        Raises:
            VirError: INVALID_ARG for an unknown architecture.
        """
        HOST_ERRORS.check_flags("connectGetCPUModelNames", flags)
        if arch not in ARCHITECTURES:
            raise qemu_error(ErrorCode.INVALID_ARG, f"cannot find architecture {arch}")
        models = await self._emulators.arch_models(arch)
        names = models.names() if models is not None else []
        return (names if need_results else []), len(names)

    async def connect_compare_cpu(self, call: ClientCall, xml: str, flags: int) -> int:
        """Compare a CPU with the host's; the result is virCPUCompareResult.

        Raises:
            VirError: XML_ERROR: invalid XML; CPU_INCOMPATIBLE if asked to fail.
        """
        HOST_ERRORS.check_flags("connectCompareCPU", flags, FAIL_INCOMPATIBLE | VALIDATE_XML)
        features = host_features(self._node.cpu_fields())
        models = await self._emulators.require_arch_models(host_arch())
        names = await self._known_features(host_arch(), models)
        return compare_cpu(read_cpu(xml), models, features, flags, names)

    async def connect_compare_hypervisor_cpu(
        self,
        call: ClientCall,
        emulator: str | None,
        arch: str | None,
        machine: str | None,
        virttype: str | None,
        xml_cpu: str,
        flags: int,
    ) -> int:
        """Compare a CPU with what QEMU can provide on this host.

        Raises:
            VirError: XML_ERROR: invalid XML; CPU_INCOMPATIBLE if asked to fail.
        """
        HOST_ERRORS.check_flags(
            "connectCompareHypervisorCPU", flags, FAIL_INCOMPATIBLE | VALIDATE_XML
        )
        document = read_cpu(xml_cpu)
        facts, _, kind = await self._emulators.select(emulator, arch, machine, virttype)
        models = await self._emulators.models(facts.binary)
        names = await self._known_features(facts.arch, models)
        features = accelerator_features(accelerator(facts, kind))
        return compare_cpu(document, models, features, flags, names)

    async def connect_baseline_cpu(self, call: ClientCall, xml_cpus: list[str], flags: int) -> str:
        """Compute the CPU that all the described hosts support.

        Raises:
            VirError: XML_ERROR: invalid XML, INVALID_ARG for none.
        """
        HOST_ERRORS.check_flags("connectBaselineCPU", flags, EXPAND_FEATURES | MIGRATABLE)
        cpus = read_cpus(xml_cpus)
        for cpu in cpus:
            if not cpu.arch:
                raise cpu_error(ErrorCode.XML_ERROR, "Missing CPU architecture")
        models = await self._emulators.require_arch_models(cpus[0].arch)
        names = await self._known_features(cpus[0].arch, models)
        return write_baseline(cpus, models, None, flags, names)

    async def connect_baseline_hypervisor_cpu(
        self,
        call: ClientCall,
        emulator: str | None,
        arch: str | None,
        machine: str | None,
        virttype: str | None,
        xml_cpus: list[str],
        flags: int,
    ) -> str:
        """Compute the CPU that all the described hosts and QEMU support.

        Raises:
            VirError: XML_ERROR: invalid XML, INVALID_ARG for none or one without a model.
        """
        HOST_ERRORS.check_flags("connectBaselineHypervisorCPU", flags, EXPAND_FEATURES | MIGRATABLE)
        cpus = read_cpus(xml_cpus)
        for index, cpu in enumerate(cpus):
            if not cpu.model:
                detail = f"no CPU model specified at index {index}"
                raise cpu_error(ErrorCode.INVALID_ARG, detail)
        facts, _, kind = await self._emulators.select(emulator, arch, machine, virttype)
        models = await self._emulators.models(facts.binary)
        names = await self._known_features(facts.arch, models)
        limit = accelerator_features(accelerator(facts, kind))
        return write_baseline(cpus, models, limit, flags, names)

    async def _known_features(self, arch: str, models: Models) -> frozenset[str]:
        """Return every feature name of an architecture, those of our own capabilities included.

        No CPU model has all of them: the host's CPU may be newer than every model.
        """
        names = models.feature_names() | NOT_MIGRATABLE | {"hypervisor"}
        if FAMILY.get(arch, arch) == FAMILY.get(host_arch(), host_arch()):
            names |= host_features(self._node.cpu_fields())
        binary = self._emulators.installed().get(FAMILY.get(arch, arch))
        if binary is not None:
            facts = await self._emulators.facts(binary)
            for cpus in (facts.tcg, facts.kvm):
                names |= qemu_feature_names(cpus.host_model) if cpus is not None else frozenset()
        return names


def read_cpus(documents: Sequence[str]) -> list[CpuXml]:
    """Parse the CPUs of a baseline.

    Raises:
        VirError: INVALID_ARG when there is none, XML_ERROR for a bad one.
    """
    if not documents:
        raise VirError(ErrorCode.INVALID_ARG, "a baseline needs at least one CPU", ErrorDomain.DOM)
    return [read_cpu(document) for document in documents]


def compare_cpu(
    document: CpuXml,
    models: Models,
    features: frozenset[str],
    flags: int,
    other_names: frozenset[str] = frozenset(),
) -> int:
    """Compare a guest's CPU with the available features.

    Args:
        document: the guest's CPU.
        models: of its architecture.
        features: what is available.
        flags: virConnectCompareCPUFlags.
        other_names: names of features that the document may have besides those of `models` and
            `features`.

    Raises:
        VirError: INTERNAL_ERROR for an unknown model or feature; CPU_INCOMPATIBLE if asked to fail.
    """
    if not document.model:
        return Comparison.SUPERSET
    guest = guest_features(document, models, models.feature_names() | features | other_names)
    forbidden = {name for policy, name in document.features if policy == "forbid"} & features
    result = compare(features, guest, strict=document.match == "strict")
    if forbidden:
        result = Comparison.INCOMPATIBLE
    if result is Comparison.INCOMPATIBLE and flags & FAIL_INCOMPATIBLE:
        raise incompatible(guest, features, frozenset(forbidden))
    return result


def incompatible(
    guest: frozenset[str], features: frozenset[str], forbidden: frozenset[str]
) -> VirError:
    """CPU_INCOMPATIBLE, listing the features that differ."""
    if forbidden:
        detail = f"Host CPU provides forbidden features: {', '.join(sorted(forbidden))}"
    elif missing := guest - features:
        detail = f"Host CPU does not provide required features: {', '.join(sorted(missing))}"
    else:
        extra = ", ".join(sorted(features - guest))
        detail = f"Host CPU does not strictly match guest CPU: Extra features: {extra}"
    return cpu_error(ErrorCode.CPU_INCOMPATIBLE, detail)


def write_baseline(
    cpus: Sequence[CpuXml],
    models: Models,
    limit: frozenset[str] | None,
    flags: int,
    other_names: frozenset[str] = frozenset(),
) -> str:
    """Format the largest CPU that all CPUs have, and that `limit` (the hypervisor's) allows.

    Args:
        cpus: the CPUs.
        models: of their architecture.
        limit: the hypervisor's features; None: any.
        flags: virConnectBaselineCPUFlags.
        other_names: names of features that the CPUs may have besides those of `models` and `limit`.
    """
    all_features = models.feature_names() | NOT_MIGRATABLE | other_names | (limit or frozenset())
    sets = [guest_features(cpu, models, all_features) for cpu in cpus]
    if limit is not None:
        sets.append(limit | {"hypervisor"})
    shared = baseline(sets, migratable=bool(flags & MIGRATABLE))
    vendor = only({cpu.vendor or vendor_of(cpu.model, models) for cpu in cpus} - {""})
    allowed = [name for name in models.names() if vendor_of(name, models) in ("", vendor)]
    preferred = only({cpu.model for cpu in cpus})  # a model that all name stays, if it can
    among = [preferred] if preferred in allowed else allowed
    cpu = models.describe(shared, vendor, among=among) if among else None
    if cpu is None:
        raise cpu_error(ErrorCode.OPERATION_FAILED, "CPUs are incompatible")
    if not all(document.vendor for document in cpus):
        cpu = replace(cpu, vendor="")  # a vendor that only the models' names imply is not told
    return write_cpu(cpu, expand=models.order(shared) if flags & EXPAND_FEATURES else None)


def only(values: set[str]) -> str:
    """Return the one value; "" where there is another."""
    return next(iter(values)) if len(values) == 1 else ""


def vendor_of(name: str, models: Models) -> str:
    """Return the vendor of a model; "" where it has none or is unknown."""
    model = models.get(name)
    return model.vendor if model is not None else ""
