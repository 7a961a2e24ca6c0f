"""<capabilities>: the host and the guests that its emulators can run. Pure.

Owns: that XML (libvirt 9.0 formatcaps).
May not touch: files, QEMU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from conf.emulator import EmulatorFacts, Machine
from conf.types.cpuset import format_cpuset
from supervisor.hostd.capabilities.xml_writer import Element, group, text, write
from supervisor.hostd.node.node import CacheBank, Cell, Processor, Topology

WORD_SIZE = {"x86_64": 64, "i686": 32, "aarch64": 64, "armv7l": 32, "ppc64": 64, "s390x": 64}


@dataclass(frozen=True, slots=True)
class HostCpu:
    """The host's CPU as a named model and additional features."""

    arch: str
    model: str  # "" where the architecture has no named models
    vendor: str
    features: tuple[str, ...]  # beyond the model's
    microcode: int | None = None
    family: int | None = None
    model_number: int | None = None
    stepping: int | None = None
    address_bits: int | None = None
    tsc_hz: int | None = None


@dataclass(frozen=True, slots=True)
class HostPlatform:
    """NUMA cells, caches, sleep states and IOMMU: the same for every driver."""

    cells: Sequence[Cell]
    caches: Sequence[CacheBank]
    suspend: Sequence[str]  # "suspend_mem", "suspend_disk", "suspend_hybrid"
    iommu: bool


@dataclass(frozen=True, slots=True)
class Host:
    """Input of <host>."""

    uuid: str
    cpu: HostCpu
    topology: Topology
    platform: HostPlatform
    labels: str | None  # DAC base label, "+UID:+GID"; None in session mode


def write_capabilities(host: Host, guests: Sequence[EmulatorFacts]) -> str:
    """Write the XML."""
    return write(group("capabilities", host_part(host), *(guest_part(facts) for facts in guests)))


def host_part(host: Host) -> Element:
    """Build <host>."""
    return group(
        "host",
        text("uuid", host.uuid),
        cpu_part(host),
        *platform_parts(host.platform),
        secmodel_part(),
        label_part(host.labels) if host.labels else None,
    )


def platform_parts(platform: HostPlatform) -> list[Element | None]:
    """Build what every driver's <host> has."""
    return [
        group("power_management", *((name, {}, []) for name in platform.suspend)),
        group("iommu", support="yes" if platform.iommu else "no"),
        group(
            "topology",
            group("cells", *(cell_part(cell) for cell in platform.cells), num=len(platform.cells)),
        ),
        group("cache", *(cache_part(bank) for bank in platform.caches))
        if platform.caches
        else None,
    ]


def secmodel_part() -> Element:
    """Build <secmodel> none."""
    return group("secmodel", text("model", "none"), text("doi", 0))


def cpu_part(host: Host) -> Element:
    """Build <cpu>."""
    cpu, top = host.cpu, host.topology
    signature = None
    if cpu.family is not None:
        signature = group(
            "signature", family=cpu.family, model=cpu.model_number, stepping=cpu.stepping
        )
    cells = host.platform.cells
    pages = cells[0].pages if cells else ()
    return group(
        "cpu",
        text("arch", cpu.arch),
        text("model", cpu.model) if cpu.model else None,
        text("vendor", cpu.vendor) if cpu.vendor else None,
        group("microcode", version=cpu.microcode) if cpu.microcode is not None else None,
        signature,
        group("counter", name="tsc", frequency=cpu.tsc_hz) if cpu.tsc_hz else None,
        group("topology", sockets=top.sockets, dies=top.dies, cores=top.cores, threads=top.threads),
        group("maxphysaddr", mode="emulate", bits=cpu.address_bits) if cpu.address_bits else None,
        *(group("feature", name=name) for name in cpu.features),
        *(group("pages", unit="KiB", size=page.size_kib) for page in pages),
    )


def cell_part(cell: Cell) -> Element:
    """Build a NUMA <cell>."""
    pages = [("pages", {"unit": "KiB", "size": p.size_kib}, str(p.total)) for p in cell.pages]
    siblings = [group("sibling", id=other, value=value) for other, value in cell.distances]
    return group(
        "cell",
        ("memory", {"unit": "KiB"}, str(cell.memory_kib)),
        *pages,
        group("distances", *siblings) if siblings else None,
        group("cpus", *map(processor_part, cell.processors), num=len(cell.processors)),
        id=cell.number,
    )


def processor_part(processor: Processor) -> Element:
    """Build a <cpu> of a cell."""
    return group(
        "cpu",
        id=processor.number,
        socket_id=processor.socket,
        die_id=processor.die,
        core_id=processor.core,
        siblings=format_cpuset(processor.siblings),
    )


def cache_part(bank: CacheBank) -> Element:
    """Build a cache <bank>."""
    whole = bank.size_kib % 1024 == 0
    return group(
        "bank",
        id=bank.identifier,
        level=bank.level,
        type=bank.kind,
        size=bank.size_kib // 1024 if whole else bank.size_kib,
        unit="MiB" if whole else "KiB",
        cpus=bank.cpus,
    )


def label_part(labels: str) -> Element:
    """Build <secmodel> dac: the owner of guests' files."""
    base = [("baselabel", {"type": kind}, labels) for kind in ("kvm", "qemu")]
    return group("secmodel", text("model", "dac"), text("doi", 0), *base)


def guest_part(facts: EmulatorFacts) -> Element:
    """Build <guest> of one emulator."""
    kinds = ["qemu", "kvm"] if facts.kvm_usable else ["qemu"]
    return group(
        "guest",
        text("os_type", "hvm"),
        group(
            "arch",
            text("wordsize", WORD_SIZE.get(facts.arch, 64)),
            text("emulator", facts.binary),
            *(element for machine in facts.machines for element in machine_parts(machine)),
            *(group("domain", type=kind) for kind in kinds),
            name=facts.arch,
        ),
        group("features", *feature_parts(facts)),
    )


def machine_parts(machine: Machine) -> list[Element]:
    """Build the <machine> of a machine type, and that of its alias."""
    marks: dict[str, object] = {"maxCpus": machine.max_cpus}
    if machine.deprecated:
        marks["deprecated"] = "yes"
    parts: list[Element] = [("machine", marks, machine.name)]
    if machine.alias:
        parts.append(("machine", {"canonical": machine.name, **marks}, machine.alias))
    return parts


def feature_parts(facts: EmulatorFacts) -> list[Element]:
    """Build the children of a guest's <features>."""
    parts: list[Element] = []
    if facts.arch == "i686":
        parts += [group("pae"), group("nonpae")]
    if facts.arch in ("i686", "x86_64"):
        parts += [
            group("acpi", default="on", toggle="yes"),
            group("apic", default="on", toggle="no"),
        ]
    parts += [group("cpuselection"), group("deviceboot")]
    return [*parts, group("disksnapshot", default="on", toggle="no")]
