"""What one QEMU binary can do: the facts that completing, validating and planning a domain need.

Owns: the shape of the facts, and questions that are asked of them in several places.
May touch: nothing; facts are values, made by `hostd.emulator.probe`, cached on disk as JSON and
handed over the bus.
May not touch: files, processes, the host.
"""

from __future__ import annotations

import msgspec

Property = bool | int | str | float | None


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
    blockers: tuple[str, ...] = ()  # features that the model has and this host cannot give
    deprecated: bool = False
    alias_of: str = ""

    @property
    def usable(self) -> bool:
        """Whether this host gives every feature of the model."""
        return not self.blockers


class AcceleratorFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The CPUs under one accelerator."""

    cpu_models: tuple[CpuModel, ...] = ()
    host_model: dict[str, Property] = {}  # full expansion of `host` (KVM) or `max` (TCG)


class SevFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What AMD SEV offers on this host."""

    pdh: str
    cert_chain: str
    cbitpos: int
    reduced_phys_bits: int


class EmulatorFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a probe of one QEMU binary found.

    Properties are those of QOM types that a plan or a default asks about; a type that is absent
    there but in `devices` exists, only its properties were not asked for.
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
        """The version as libvirt writes it: 1000000 * major + 1000 * minor + micro."""
        major, minor, micro = self.version
        return 1_000_000 * major + 1_000 * minor + micro

    @property
    def kvm_usable(self) -> bool:
        """Whether guests of type 'kvm' can run."""
        return self.kvm is not None

    def accelerator(self, virt_type: str) -> AcceleratorFacts | None:
        """The CPUs for a domain type ('kvm' or 'qemu'); None where it cannot run."""
        return self.kvm if virt_type == "kvm" else self.tcg

    def machine(self, name: str) -> Machine | None:
        """The machine type of that name or alias."""
        for machine in self.machines:
            if name in (machine.name, machine.alias):
                return machine
        return None

    def default_machine(self) -> Machine | None:
        """The machine type that QEMU itself takes by default."""
        return next((machine for machine in self.machines if machine.is_default), None)

    def canonical_machine(self, name: str) -> str:
        """The machine's real name for an alias ("pc" is "pc-i440fx-7.2"); other names unchanged."""
        return next((m.name for m in self.machines if m.alias == name), name)

    def for_launch(self, virt_type: str, machine: str, cpu: str) -> EmulatorFacts:
        """The facts without what a launch of one domain does not ask about.

        Machines, CPU models and the accelerator are the domain's alone; the host's own model is
        left out. All else is as it was.
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
        """A CPU model under the accelerator of the domain type."""
        accelerator = self.accelerator(virt_type)
        models = accelerator.cpu_models if accelerator else ()
        return next((model for model in models if model.name == name), None)

    def has_device(self, name: str) -> bool:
        """Whether -device takes the type."""
        return name in self.devices

    def has_object(self, name: str) -> bool:
        """Whether -object takes the type."""
        return name in self.objects

    def has_property(self, kind: str, name: str) -> bool:
        """Whether the QOM type has the property."""
        return name in self.properties.get(kind, ())

    def has_backend(self, kind: str, name: str) -> bool:
        """Whether e.g. blockdev driver "gluster" or display "gtk" is built in."""
        return name in self.backends.get(kind, ())
