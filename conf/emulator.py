"""Facts about a QEMU binary (libvirt: virQEMUCaps) that completion, validation and argv need.

Owns: their structs and lookups.
May touch: nothing; `hostd.emulator.probe` makes them, caches them as JSON and sends them over the
bus.
May not touch: files, processes, the host.
"""

from __future__ import annotations

from functools import cached_property
from typing import Final

import msgspec

Property = bool | int | str | float | None

#: QEMU's names of CPU features that libvirt calls otherwise.
QEMU_FEATURE_NAMES: Final = {
    "cmp_legacy": "cmp-legacy", "ds_cpl": "ds-cpl", "fxsr_opt": "fxsr-opt",
    "kvm_pv_eoi": "kvm-pv-eoi", "kvm_pv_unhalt": "kvm-pv-unhalt", "lahf_lm": "lahf-lm",
    "nodeid_msr": "nodeid-msr", "pclmuldq": "pclmulqdq", "perfctr_core": "perfctr-core",
    "perfctr_nb": "perfctr-nb", "tsc_adjust": "tsc-adjust",
}  # fmt: skip


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """One machine type of the emulator."""

    name: str
    alias: str = ""
    is_default: bool = False
    max_cpus: int = 1
    default_cpu: str = ""  # a model name as in `CpuModel.name`; "" where the machine names none
    default_ram_id: str = ""  # the id of the memory backend that `memory-backend=` takes
    hotpluggable_cpus: bool = False
    numa_memory: bool = False  # `-numa node,mem=` still works
    deprecated: bool = False


class CpuModel(msgspec.Struct, frozen=True, kw_only=True):
    """One CPU model under one accelerator."""

    name: str
    type_name: str
    blockers: tuple[
        str, ...
    ] = ()  # features of the model that this host lacks (unavailable-features)
    deprecated: bool = False
    alias_of: str = ""

    @property
    def usable(self) -> bool:
        """Return whether this host has every feature of the model."""
        return not self.blockers


class AcceleratorFacts(msgspec.Struct, frozen=True, kw_only=True):
    """CPU models under one accelerator."""

    cpu_models: tuple[CpuModel, ...] = ()
    host_model: dict[str, Property] = {}  # full expansion of `host` (KVM) or `max` (TCG)
    #: The same of `host` with what keeps a guest from moving; empty for TCG, which has no such.
    unmigratable_model: dict[str, Property] = {}


class SevFacts(msgspec.Struct, frozen=True, kw_only=True):
    """AMD SEV parameters of this host (query-sev-capabilities)."""

    pdh: str
    cert_chain: str
    cbitpos: int
    reduced_phys_bits: int


class EmulatorFacts(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Result of probing one QEMU binary.

    `properties` has only the QOM types that argv or defaults depend on; a type that is in `devices`
    but not there exists, its properties were not queried.
    """

    binary: str
    version: tuple[int, int, int]  # major, minor, micro
    package: str
    arch: str  # libvirt's name: "x86_64", "i686", "aarch64", …
    kvm: AcceleratorFacts | None  # None: KVM cannot be used
    tcg: AcceleratorFacts
    machines: tuple[Machine, ...]
    devices: frozenset[str]  # types that -device takes
    objects: frozenset[str]  # types that -object takes
    properties: dict[str, frozenset[str]]  # device, object or machine type -> its properties
    commands: frozenset[str]  # QMP
    events: frozenset[str]  # QMP
    options: dict[str, frozenset[str]]  # command line option -> its parameters
    backends: dict[str, frozenset[str]]  # "blockdev", "chardev", "netdev", "audiodev", "display"
    tpm_models: frozenset[str] = frozenset()
    tpm_types: frozenset[str] = frozenset()
    sev: SevFacts | None = None

    @property
    def version_number(self) -> int:
        """Return the version as libvirt encodes it: 1000000 * major + 1000 * minor + micro."""
        major, minor, micro = self.version
        return 1_000_000 * major + 1_000 * minor + micro

    @property
    def kvm_usable(self) -> bool:
        """Return whether domains of type 'kvm' can run."""
        return self.kvm is not None

    def accelerator(self, virt_type: str) -> AcceleratorFacts | None:
        """Return the CPUs for a domain type ('kvm' or 'qemu'); None when it cannot run."""
        return self.kvm if virt_type == "kvm" else self.tcg

    def machine(self, name: str) -> Machine | None:
        """Return the machine type of a name or alias."""
        return self._machines_by_name.get(name)

    @cached_property
    def _machines_by_name(self) -> dict[str, Machine]:
        """Index the machine types: a definition looks them up several times."""
        named = {m.alias: m for m in reversed(self.machines) if m.alias}
        named.update((m.name, m) for m in self.machines)
        return named

    def default_machine(self) -> Machine | None:
        """Return QEMU's default machine type."""
        return next((machine for machine in self.machines if machine.is_default), None)

    def canonical_machine(self, name: str) -> str:
        """Resolve a machine alias: "pc" is "pc-i440fx-7.2" in QEMU 7.2; other names unchanged."""
        machine = self.machine(name)
        return name if machine is None else machine.name

    def for_launch(self, virt_type: str, machine: str, cpu: str) -> EmulatorFacts:
        """Return the facts that the launch of one domain needs.

        Only the domain's machine, CPU models and accelerator are kept, without the host's model.
        """
        kept_machine = self.machine(machine)
        names = {cpu, kept_machine.default_cpu if kept_machine else "", "qemu64"}
        accelerator = self.accelerator(virt_type)
        models = accelerator.cpu_models if accelerator else ()
        slim = AcceleratorFacts(cpu_models=tuple(m for m in models if m.name in names))
        return msgspec.structs.replace(
            self,
            kvm=slim if virt_type == "kvm" and accelerator else None,
            tcg=slim if virt_type != "kvm" else AcceleratorFacts(),
            machines=(kept_machine,) if kept_machine else (),
        )

    def cpu_model(self, virt_type: str, name: str) -> CpuModel | None:
        """Return a CPU model under the accelerator of the domain type."""
        accelerator = self.accelerator(virt_type)
        models = accelerator.cpu_models if accelerator else ()
        return next((model for model in models if model.name == name), None)

    def has_device(self, name: str) -> bool:
        """Return whether -device accepts the type."""
        return name in self.devices

    def has_object(self, name: str) -> bool:
        """Return whether -object accepts the type."""
        return name in self.objects

    def has_property(self, kind: str, name: str) -> bool:
        """Return whether the QOM type has the property."""
        return name in self.properties.get(kind, ())

    def has_backend(self, kind: str, name: str) -> bool:
        """Return whether e.g. blockdev driver "gluster" or display "gtk" is built in."""
        return name in self.backends.get(kind, ())
