"""QMP queries of a probe, and parsing of their replies. Pure.

Owns: the list of queries and the mapping of their replies to `EmulatorFacts`.
May touch: values only.
May not touch: processes, files (`supervisor.hostd.emulator.probe` does).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeVar

import msgspec

from conf.emulator import (
    AcceleratorFacts,
    CpuModel,
    EmulatorFacts,
    Machine,
    Property,
    SevFacts,
)

PROPERTIES_OF: Final = (
    "virtio-blk-pci", "virtio-scsi-pci", "virtio-net-pci", "virtio-balloon-pci", "virtio-rng-pci",
    "virtio-serial-pci", "virtio-gpu-pci", "virtio-vga", "virtio-mem-pci", "virtio-pmem-pci",
    "virtio-iommu-pci", "virtio-9p-pci", "vhost-user-fs-pci", "vhost-user-blk-pci",
    "vhost-vsock-pci", "ide-hd", "scsi-hd", "scsi-disk", "scsi-block", "usb-storage", "usb-host",
    "usb-redir", "pcie-root-port", "pci-bridge", "pxb", "pxb-pcie", "qemu-xhci", "nec-usb-xhci",
    "piix3-usb-uhci", "PIIX4_PM", "ICH9-LPC", "i440FX-pcihost", "q35-pcihost", "intel-iommu",
    "vfio-pci", "qxl", "qxl-vga", "VGA", "vmware-svga", "nvdimm", "ivshmem-plain", "isa-fdc",
    "rtl8139", "e1000", "e1000e", "nvme", "ramfb", "mch", "megasas", "lsi53c895a",
)  # fmt: skip
OBJECT_PROPERTIES_OF: Final = (
    "memory-backend-file", "memory-backend-memfd", "memory-backend-ram", "iothread", "sev-guest",
    "rng-builtin", "tls-creds-x509", "qemu-vdagent", "thread-context",
)  # fmt: skip
MACHINE_TYPES: Final = ("generic-pc", "x86")  # abstract types: no machine is created
LIBVIRT_ARCH: Final = {"i386": "i686", "arm": "armv7l"}
SCHEMA_CHOICES: Final = {
    "blockdev": ("blockdev-add", "driver"),
    "netdev": ("netdev_add", "type"),
    "chardev": ("chardev-add", "backend", "type"),
    "display": ("query-display-options", "->", "type"),
    "object": ("object-add", "qom-type"),
}

T = TypeVar("T")


class Query(msgspec.Struct, frozen=True):
    """One QMP command; command and subject identify its reply."""

    command: str
    subject: str = ""  # the QOM type or CPU model
    migratable: bool = True  # of a CPU model: without what keeps a guest from moving

    def encode(self, number: int) -> bytes:
        """Encode the command with `number` as its id."""
        message: dict[str, object] = {"execute": self.command, "id": number}
        if self.subject:
            message["arguments"] = _ARGUMENTS[self.command](self)
        return msgspec.json.encode(message) + b"\n"


def _expansion(query: Query) -> dict[str, object]:
    model: dict[str, object] = {"name": query.subject}
    if not query.migratable:
        model["props"] = {"migratable": False}
    return {"type": "full", "model": model}


_ARGUMENTS: Final[dict[str, Callable[[Query], dict[str, object]]]] = {
    "qom-list-types": lambda query: {"implements": query.subject, "abstract": False},
    "device-list-properties": lambda query: {"typename": query.subject},
    "qom-list-properties": lambda query: {"typename": query.subject},
    "query-cpu-model-expansion": _expansion,
}

CPUS: Final = Query("query-cpu-definitions")
VERSION: Final = Query("query-version")
TARGET: Final = Query("query-target")
KVM: Final = Query("query-kvm")
MACHINES: Final = Query("query-machines")
NO_MACHINE: Final = "none"  # QEMU's machine for probes; no guest runs on it
DEVICES: Final = Query("qom-list-types", "device")
OBJECTS: Final = Query("qom-list-types", "user-creatable")
SCHEMA: Final = Query("query-qmp-schema")
OPTIONS: Final = Query("query-command-line-options")
TPM_MODELS: Final = Query("query-tpm-models")
TPM_TYPES: Final = Query("query-tpm-types")
SEV: Final = Query("query-sev-capabilities")
HOST_MODEL: Final = Query("query-cpu-model-expansion", "host")
HOST_UNMIGRATABLE: Final = Query("query-cpu-model-expansion", "host", migratable=False)
MAX_MODEL: Final = Query("query-cpu-model-expansion", "max")

ACCELERATOR_QUERIES: Final = (KVM, CPUS, HOST_MODEL, HOST_UNMIGRATABLE, MAX_MODEL)
QUERIES: Final = (
    VERSION, TARGET, MACHINES, DEVICES, OBJECTS, SCHEMA, OPTIONS, TPM_MODELS, TPM_TYPES, SEV,
    *(Query("device-list-properties", kind) for kind in PROPERTIES_OF),
    *(Query("qom-list-properties", kind) for kind in OBJECT_PROPERTIES_OF),
    *(Query("qom-list-properties", f"{kind}-machine") for kind in MACHINE_TYPES),
    *ACCELERATOR_QUERIES,
)  # fmt: skip


class Named(msgspec.Struct, frozen=True):
    """An item of a reply; only its name is used."""

    name: str


class _Machine(msgspec.Struct, frozen=True, rename="kebab"):
    name: str
    alias: str = ""
    is_default: bool = False
    cpu_max: int = 1
    default_cpu_type: str = ""
    default_ram_id: str = ""
    hotpluggable_cpus: bool = False
    numa_mem_supported: bool = False
    deprecated: bool = False


class _Cpu(msgspec.Struct, frozen=True, rename="kebab"):
    name: str
    typename: str
    unavailable_features: list[str] = []
    deprecated: bool = False
    alias_of: str = ""


class _ModelInfo(msgspec.Struct, frozen=True):
    name: str
    props: dict[str, Property]


class _Expansion(msgspec.Struct, frozen=True):
    model: _ModelInfo


class _Triple(msgspec.Struct, frozen=True):
    major: int
    minor: int
    micro: int


class _Version(msgspec.Struct, frozen=True):
    qemu: _Triple
    package: str


class _Target(msgspec.Struct, frozen=True):
    arch: str


class _Kvm(msgspec.Struct, frozen=True):
    enabled: bool
    present: bool


class _Option(msgspec.Struct, frozen=True):
    option: str
    parameters: list[Named]


class _Sev(msgspec.Struct, frozen=True, rename="kebab"):
    pdh: str
    cert_chain: str
    cbitpos: int
    reduced_phys_bits: int


class _Member(msgspec.Struct, frozen=True):
    name: str
    type: str


class _SchemaEntry(msgspec.Struct, frozen=True, rename="kebab"):
    name: str
    meta_type: str
    arg_type: str = ""
    ret_type: str = ""
    tag: str = ""
    members: list[msgspec.Raw] = []
    values: list[str] = []


class Replies:
    """The replies of one QEMU run; a query that QEMU refused has none."""

    def __init__(self, replies: Mapping[Query, bytes]) -> None:
        self._replies = replies

    def get(self, query: Query, kind: type[T]) -> T | None:
        """Return a reply as `kind`; None when QEMU refused the query.

        Raises:
            msgspec.MsgspecError: the reply has another shape.
        """
        raw = self._replies.get(query)
        return None if raw is None else msgspec.json.decode(raw, type=kind)

    def names(self, query: Query) -> frozenset[str]:
        """Return the names of a list reply; empty when QEMU refused the query."""
        return frozenset(item.name for item in self.get(query, list[Named]) or ())

    def strings(self, query: Query) -> frozenset[str]:
        """Return a reply of strings; empty when QEMU refused the query."""
        return frozenset(self.get(query, list[str]) or ())

    def require(self, query: Query, kind: type[T]) -> T:
        """Return a mandatory reply.

        Raises:
            LookupError: QEMU refused the query.
        """
        reply = self.get(query, kind)
        if reply is None:
            raise LookupError(query.command)
        return reply


def read_facts(binary: str, replies: Replies, tcg: Replies | None) -> EmulatorFacts:
    """Parse the replies of a run that prefers KVM, and of one with TCG only.

    `tcg` is None when the first run was without KVM.
    """
    version = replies.require(VERSION, _Version)
    arch = replies.require(TARGET, _Target).arch
    kvm = replies.get(KVM, _Kvm)
    schema = _Schema(replies.require(SCHEMA, list[_SchemaEntry]))
    suffix = f"-{arch}-cpu"
    return EmulatorFacts(
        binary=binary,
        version=(version.qemu.major, version.qemu.minor, version.qemu.micro),
        package=version.package,
        arch=LIBVIRT_ARCH.get(arch, arch),
        kvm=_accelerator(replies, HOST_MODEL, HOST_UNMIGRATABLE)
        if kvm is not None and kvm.enabled
        else None,
        tcg=_accelerator(tcg or replies, MAX_MODEL),
        machines=tuple(
            _machine(m, suffix)
            for m in replies.require(MACHINES, list[_Machine])
            if m.name != NO_MACHINE
        ),
        devices=frozenset(n for n in replies.names(DEVICES) if not n.endswith(suffix)),
        objects=replies.names(OBJECTS),
        properties=dict(_properties(replies)),
        commands=schema.named("command"),
        events=schema.named("event"),
        options={
            option.option: frozenset(p.name for p in option.parameters)
            for option in replies.get(OPTIONS, list[_Option]) or ()
        },
        backends={kind: schema.choices(*where) for kind, where in SCHEMA_CHOICES.items()},
        tpm_models=replies.strings(TPM_MODELS),
        tpm_types=replies.strings(TPM_TYPES),
        sev=_sev(replies.get(SEV, _Sev)),
    )


def _properties(replies: Replies) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield each QOM type with its properties."""
    for query in QUERIES:
        if query.command in ("device-list-properties", "qom-list-properties"):
            names = replies.names(query)
            if names:
                yield query.subject, names


def _accelerator(
    replies: Replies, model: Query, unmigratable: Query | None = None
) -> AcceleratorFacts:
    expansion = replies.get(model, _Expansion)
    full = replies.get(unmigratable, _Expansion) if unmigratable is not None else None
    return AcceleratorFacts(
        cpu_models=tuple(
            CpuModel(
                name=cpu.name,
                type_name=cpu.typename,
                blockers=tuple(cpu.unavailable_features),
                deprecated=cpu.deprecated,
                alias_of=cpu.alias_of,
            )
            for cpu in replies.get(CPUS, list[_Cpu]) or ()
        ),
        host_model=expansion.model.props if expansion else {},
        unmigratable_model=full.model.props if full else {},
    )


def _machine(machine: _Machine, suffix: str) -> Machine:
    return Machine(
        name=machine.name,
        alias=machine.alias,
        is_default=machine.is_default,
        max_cpus=machine.cpu_max,
        default_cpu=machine.default_cpu_type.removesuffix(suffix),
        default_ram_id=machine.default_ram_id,
        hotpluggable_cpus=machine.hotpluggable_cpus,
        numa_memory=machine.numa_mem_supported,
        deprecated=machine.deprecated,
    )


def _sev(sev: _Sev | None) -> SevFacts | None:
    if sev is None:
        return None
    return SevFacts(
        pdh=sev.pdh,
        cert_chain=sev.cert_chain,
        cbitpos=sev.cbitpos,
        reduced_phys_bits=sev.reduced_phys_bits,
    )


class _Schema:
    """query-qmp-schema; its type names are numbers, so types are found by path."""

    def __init__(self, entries: list[_SchemaEntry]) -> None:
        self._entries = {entry.name: entry for entry in entries}

    def named(self, meta_type: str) -> frozenset[str]:
        return frozenset(n for n, entry in self._entries.items() if entry.meta_type == meta_type)

    def choices(self, command: str, *path: str) -> frozenset[str]:
        """Return the enum values of a member of a command's arguments (or of its reply, "->")."""
        entry = self._entries.get(command)
        if entry is None:
            return frozenset()
        answered = path[0] == "->"
        entry = self._entries[entry.ret_type if answered else entry.arg_type]
        for step in path[1:] if answered else path:
            members = (msgspec.json.decode(raw, type=_Member) for raw in entry.members)
            kind = next((member.type for member in members if member.name == step), None)
            if kind is None:
                return frozenset()
            entry = self._entries[kind]
        return frozenset(entry.values)
