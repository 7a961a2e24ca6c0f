"""hostd's calls about emulators and CPUs: one method per procedure, named as in the table.

Owns: how a client's question becomes one to a certain emulator, and the answer's document.
May touch: emulators through `supervisor.hostd.emulator.emulators`. May not touch: guests.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from conf.emulator import AcceleratorFacts, EmulatorFacts, Machine
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.service_errors import HOST_ERRORS
from supervisor.hostd.capabilities import domain as domcaps
from supervisor.hostd.capabilities.host import Host, HostPlatform, write_capabilities
from supervisor.hostd.cpu.cpu_xml import CpuXml, cpu_error, guest_features, read_cpu, write_cpu
from supervisor.hostd.cpu.host_cpu import (
    accelerator_features,
    describe_host,
    host_features,
    host_vendor,
)
from supervisor.hostd.cpu.models import NOT_MIGRATABLE, Comparison, Cpu, Models, baseline, compare
from supervisor.hostd.emulator.emulators import ARCHITECTURES, FAMILY, Emulators, qemu_error
from supervisor.hostd.node.node import Node, list_directory
from supervisor.runtime.host import host_arch

FAIL_INCOMPATIBLE = 1  # VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE
VALIDATE_XML = 2  # VIR_CONNECT_COMPARE_CPU_VALIDATE_XML
EXPAND_FEATURES = 1  # VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES
MIGRATABLE = 2  # VIR_CONNECT_BASELINE_CPU_MIGRATABLE
QEMU_VCPUS = 16  # what libvirt has always said of emulated guests
KVM_VCPUS = 1024
POWER_STATES = (("mem", "suspend_mem"), ("disk", "suspend_disk"))


class EmulatorCalls:
    """What the hypervisor answers about itself."""

    def __init__(self, node: Node, emulators: Emulators, uuid: str, labels: str | None) -> None:
        """Answer about this host's emulators.

        Args:
            node: the host.
            emulators: what is installed.
            uuid: the host's own.
            labels: how files of guests are owned, "+UID:+GID".
        """
        self._node = node
        self._emulators = emulators
        self.uuid = uuid
        self._labels = labels

    async def version(self) -> int:
        """The emulator's version: 1000000 a major, 1000 a minor number."""
        return (await self._emulators.host()).version_number

    def connect_get_max_vcpus(self, call: ClientCall, type: str | None) -> int:
        """How many virtual processors a guest of a type may have at most.

        Raises:
            VirError: INVALID_ARG for an unknown type.
        """
        virt_type = (type or "qemu").lower()
        if virt_type not in ("qemu", "kvm"):
            raise qemu_error(ErrorCode.INVALID_ARG, f"unknown type '{type}'")
        return KVM_VCPUS if virt_type == "kvm" else QEMU_VCPUS

    async def capabilities(self) -> str:
        """What the host is and what guests it can run."""
        arch = host_arch()
        guests = await self._emulators.all()
        models = None
        own = [facts for facts in guests if facts.arch == arch]
        if own:
            models = await self._emulators.models(own[0].binary)
        host = Host(
            uuid=self.uuid,
            cpu=describe_host(arch, self._node.cpu_fields(), models),
            topology=self._node.topology(),
            platform=self.platform(),
            labels=self._labels,
        )
        return write_capabilities(host, guests)

    def platform(self) -> HostPlatform:
        """What the host has around its processors."""
        return HostPlatform(
            cells=self._node.cells(),
            caches=self._node.caches(),
            suspend=suspend_modes(Path("/sys/power/state")),
            iommu=bool(list_directory(Path("/sys/class/iommu"))),
        )

    async def domain_capabilities(
        self, binary: str | None, arch: str | None, machine: str | None, virt_type: str | None
    ) -> str:
        """What a guest's XML may ask of one emulator, machine and type."""
        facts, chosen, kind = await self._select(binary, arch, machine, virt_type)
        cpus = await self._cpu_modes(facts, kind)
        return domcaps.write_domain_capabilities(facts, chosen, kind, cpus)

    async def connect_get_cpu_model_names(
        self, call: ClientCall, arch: str, need_results: int, flags: int
    ) -> tuple[list[str], int]:
        """The CPU models of an architecture.

        Raises:
            VirError: INVALID_ARG for an unknown architecture.
        """
        HOST_ERRORS.check_flags("connectGetCPUModelNames", flags)
        if arch not in ARCHITECTURES:
            raise qemu_error(ErrorCode.INVALID_ARG, f"cannot find architecture {arch}")
        models = await self._models(arch)
        names = models.names() if models is not None else []
        return (names if need_results else []), len(names)

    async def connect_compare_cpu(self, call: ClientCall, xml: str, flags: int) -> int:
        """Compare a CPU with the host's: 0 incompatible, 1 the same, 2 the host has more.

        Raises:
            VirError: XML_ERROR for a bad document; CPU_INCOMPATIBLE if asked to fail.
        """
        HOST_ERRORS.check_flags("connectCompareCPU", flags, FAIL_INCOMPATIBLE | VALIDATE_XML)
        features = host_features(self._node.cpu_fields())
        models = await self._require_models(host_arch())
        return compare_cpu(read_cpu(xml), models, features, flags)

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
        """Compare a CPU with what the hypervisor can give here.

        Raises:
            VirError: XML_ERROR for a bad document; CPU_INCOMPATIBLE if asked to fail.
        """
        HOST_ERRORS.check_flags(
            "connectCompareHypervisorCPU", flags, FAIL_INCOMPATIBLE | VALIDATE_XML
        )
        document = read_cpu(xml_cpu)
        facts, _, kind = await self._select(emulator, arch, machine, virttype)
        models = await self._emulators.models(facts.binary)
        return compare_cpu(document, models, accelerator_features(accelerator(facts, kind)), flags)

    async def connect_baseline_cpu(self, call: ClientCall, xml_cpus: list[str], flags: int) -> str:
        """The best CPU that all the described hosts can give.

        Raises:
            VirError: XML_ERROR for a bad document, INVALID_ARG for none.
        """
        HOST_ERRORS.check_flags("connectBaselineCPU", flags, EXPAND_FEATURES | MIGRATABLE)
        cpus = read_cpus(xml_cpus)
        for cpu in cpus:
            if not cpu.arch:
                raise cpu_error(ErrorCode.XML_ERROR, "Missing CPU architecture")
        models = await self._require_models(cpus[0].arch)
        return write_baseline(cpus, models, None, flags)

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
        """The best CPU that all the described hosts and the hypervisor can give.

        Raises:
            VirError: XML_ERROR for a bad document, INVALID_ARG for none or one without a model.
        """
        HOST_ERRORS.check_flags("connectBaselineHypervisorCPU", flags, EXPAND_FEATURES | MIGRATABLE)
        cpus = read_cpus(xml_cpus)
        for index, cpu in enumerate(cpus):
            if not cpu.model:
                detail = f"no CPU model specified at index {index}"
                raise cpu_error(ErrorCode.INVALID_ARG, detail)
        facts, _, kind = await self._select(emulator, arch, machine, virttype)
        models = await self._emulators.models(facts.binary)
        return write_baseline(cpus, models, accelerator_features(accelerator(facts, kind)), flags)

    async def _select(
        self, binary: str | None, arch: str | None, machine: str | None, virt_type: str | None
    ) -> tuple[EmulatorFacts, Machine, str]:
        """Find the emulator, machine and type a client means; what it left out has defaults."""
        if arch is not None and arch not in ARCHITECTURES:
            raise qemu_error(ErrorCode.INVALID_ARG, f"unknown architecture: {arch}")
        path = binary or self._emulators.default(arch or host_arch())
        facts = await self._emulators.facts(path)
        if arch is not None and facts.arch != arch:
            detail = f"architecture from emulator '{facts.arch}' doesn't match"
            raise qemu_error(ErrorCode.INVALID_ARG, f"{detail} given architecture '{arch}'")
        kind = virt_type or ("kvm" if facts.kvm_usable else "qemu")
        if kind not in ("kvm", "qemu") or facts.accelerator(kind) is None:
            detail = f"Emulator '{path}' does not support virt type '{kind}'"
            raise qemu_error(ErrorCode.INVALID_ARG, detail)
        chosen = facts.machine(machine) if machine else facts.default_machine()
        if chosen is None:
            detail = f"the machine '{machine or ''}' is not supported by emulator '{path}'"
            raise qemu_error(ErrorCode.INVALID_ARG, detail)
        return facts, chosen, kind

    async def _models(self, arch: str) -> Models | None:
        binary = self._emulators.installed().get(FAMILY.get(arch, arch))
        return None if binary is None else await self._emulators.models(binary)

    async def _require_models(self, arch: str) -> Models:
        models = await self._models(arch)
        if models is None:
            detail = f"no emulator that knows CPU models of architecture '{arch}' is installed"
            raise qemu_error(ErrorCode.CONFIG_UNSUPPORTED, detail)
        return models

    async def _cpu_modes(self, facts: EmulatorFacts, kind: str) -> domcaps.CpuModes:
        models = await self._emulators.models(facts.binary)
        cpus = accelerator(facts, kind)
        vendor = host_vendor(self._node.cpu_fields())
        cpu = models.describe(accelerator_features(cpus), vendor)
        by_name = {model.name: model for model in cpus.cpu_models}
        custom_models = []
        for name in reversed(models.names()):
            model, fact = models.get(name), by_name.get(name)
            if model is not None and fact is not None:
                custom_model = domcaps.CustomModel(name, model.vendor, fact.usable, fact.deprecated)
                custom_models.append(custom_model)
        return domcaps.CpuModes(
            passthrough=kind == "kvm",
            host_model=host_model(cpu) if cpu is not None else None,
            models=custom_models,
        )


def host_model(cpu: Cpu) -> domcaps.HostModel:
    """Describe host-model by what must be added to and taken from a named one."""
    rows = [("require", name) for name in sorted(cpu.require)]
    rows += [("disable", name) for name in sorted(cpu.disable)]
    return domcaps.HostModel(cpu.model, cpu.vendor, tuple(rows))


def accelerator(facts: EmulatorFacts, kind: str) -> AcceleratorFacts:
    """The accelerator that `_choose` has found to be there."""
    cpus = facts.accelerator(kind)
    assert cpus is not None, "_choose refuses a type that cannot run"
    return cpus


def read_cpus(documents: Sequence[str]) -> list[CpuXml]:
    """Read the documents of a baseline.

    Raises:
        VirError: INVALID_ARG when there is none, XML_ERROR for a bad one.
    """
    if not documents:
        raise VirError(ErrorCode.INVALID_ARG, "a baseline needs at least one CPU", ErrorDomain.DOM)
    return [read_cpu(document) for document in documents]


def compare_cpu(document: CpuXml, models: Models, features: frozenset[str], flags: int) -> int:
    """Compare a guest's CPU with what there is.

    Raises:
        VirError: INTERNAL_ERROR for an unknown word; CPU_INCOMPATIBLE if asked to fail.
    """
    if not document.model:
        return Comparison.SUPERSET
    all_features = features.union(*(models.features(Cpu(name, "")) for name in models.names()))
    guest = guest_features(document, models, all_features)
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
    """CPU_INCOMPATIBLE saying what stands in the way."""
    if forbidden:
        detail = f"Host CPU provides forbidden features: {', '.join(sorted(forbidden))}"
    elif missing := guest - features:
        detail = f"Host CPU does not provide required features: {', '.join(sorted(missing))}"
    else:
        extra = ", ".join(sorted(features - guest))
        detail = f"Host CPU does not strictly match guest CPU: Extra features: {extra}"
    return cpu_error(ErrorCode.CPU_INCOMPATIBLE, detail)


def write_baseline(
    cpus: Sequence[CpuXml], models: Models, limit: frozenset[str] | None, flags: int
) -> str:
    """Write the best CPU that is part of every one described, and of `set_rlimits`."""
    model_features = frozenset().union(*(models.features(Cpu(name, "")) for name in models.names()))
    all_features = model_features.union(
        name for cpu in cpus for _, name in cpu.features if name in model_features
    )
    all_features |= NOT_MIGRATABLE if limit is None else NOT_MIGRATABLE | limit
    sets = [guest_features(cpu, models, all_features) for cpu in cpus]
    if limit is not None:
        sets.append(limit | {"hypervisor"})
    shared = baseline(sets, migratable=bool(flags & MIGRATABLE))
    vendors = {cpu.vendor for cpu in cpus if cpu.vendor}
    among = [cpus[0].model] if len(cpus) == 1 else []
    vendor = vendors.pop() if len(vendors) == 1 else ""
    candidates = [models.get(name) for name in among or models.names()]
    allowed = [
        m.name for m in candidates if m is not None and (not vendors or m.vendor in ("", vendor))
    ]
    cpu = models.describe(shared, vendor, among=allowed)
    if cpu is None:
        raise cpu_error(ErrorCode.OPERATION_FAILED, "CPUs are incompatible: nothing is shared")
    return write_cpu(cpu, expand=shared if flags & EXPAND_FEATURES else None)


def suspend_modes(state: Path) -> list[str]:
    """Ways in which the host can sleep."""
    try:
        states = state.read_text().split()
    except OSError:
        return []
    return [name for state_name, name in POWER_STATES if state_name in states]
