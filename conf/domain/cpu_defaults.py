"""Defaults of <cpu>.

Owns: the CPU's open attributes and the machine's own model. Pure; changes the domain it is given.
Source: libvirt 9.0, measured.
"""

from __future__ import annotations

from conf.domain.cpu import Cpu, CpuModelName, NumaCell
from conf.domain.model import Domain
from conf.emulator import EmulatorFacts
from conf.types.cpuset import format_cpuset, parse_cpuset

#: Modes whose CPU depends on the host or the accelerator.
MAX_VCPUS = 16384  # the bits of libvirt's vcpu maps
WHOLE_HOST = ("host-passthrough", "maximum")


def complete_cpu(domain: Domain, facts: EmulatorFacts) -> None:
    """Fill in mode, match, check, migratable and the model."""
    cpu = domain.cpu
    if cpu is None or (
        cpu.mode in (None, "custom") and not (cpu.model is not None and cpu.model.name)
    ):
        cpu = _default_cpu(domain, facts)
    if cpu is None:
        return
    if cpu.numa is not None:
        _complete_cells(cpu.numa.cells, domain.maximum_vcpus)
    _complete_model(cpu)
    cpu.check = cpu.check or _default_check(cpu, domain.type)
    # With TCG, "maximum" is what QEMU emulates, which says nothing of migration.
    is_host = cpu.mode == "host-passthrough" or (cpu.mode == "maximum" and domain.type == "kvm")
    if is_host and cpu.migratable is None:
        cpu.migratable = facts.arch == "x86_64"  # as libvirt asks no other architecture for it
    for feature in cpu.features:
        feature.policy = feature.policy or "require"


def _complete_model(cpu: Cpu) -> None:
    """Fill in mode, match and fallback; leave out what has no meaning in the mode."""
    if cpu.mode is None and cpu.model is not None:
        cpu.mode = "custom"
    if cpu.mode in WHOLE_HOST:
        cpu.model = cpu.vendor = None
    elif cpu.model is not None and (cpu.model.name or cpu.mode == "custom"):
        cpu.model.fallback = cpu.model.fallback or "allow"
    elif cpu.model is not None:
        vendor_id = cpu.model.vendor_id
        cpu.model = CpuModelName(vendor_id=vendor_id) if vendor_id else None
    if cpu.mode != "custom":
        cpu.match = None
    elif cpu.model is not None:
        cpu.match = cpu.match or "exact"


def _complete_cells(cells: list[NumaCell], vcpus: int) -> None:
    """Give NUMA cells their numbers, and the first one the vcpus that none has, as QEMU does."""
    for number, cell in enumerate(cells):
        cell.id = number if cell.id is None else cell.id
    cells.sort(key=lambda cell: cell.id or 0)
    placed = {cpu for cell in cells if cell.cpus for cpu in parse_cpuset(cell.cpus)}
    if not placed or vcpus > MAX_VCPUS:  # so many are refused later
        return
    rest = set(range(vcpus)) - placed
    if rest:
        own = parse_cpuset(cells[0].cpus) if cells[0].cpus else frozenset()
        cells[0].cpus = format_cpuset(own | rest)


def _default_cpu(domain: Domain, facts: EmulatorFacts) -> Cpu | None:
    """Name the machine's own CPU model, so that a newer emulator cannot change it."""
    machine = facts.machine(domain.os.type.machine or "")
    if machine is None or not machine.default_cpu:
        return domain.cpu
    cpu = domain.cpu = domain.cpu or Cpu()
    cpu.mode, cpu.match, cpu.check = "custom", "exact", "none"
    vendor_id = cpu.model.vendor_id if cpu.model is not None else None
    cpu.model = CpuModelName(fallback="forbid", vendor_id=vendor_id, name=machine.default_cpu)
    return cpu


def _default_check(cpu: Cpu, kind: str) -> str | None:
    """Choose how the host's CPU is compared with the guest's; an emulated one is not."""
    if cpu.mode == "custom" and cpu.model is not None:
        return "none" if kind == "qemu" else "partial"
    return {"host-model": "partial", **dict.fromkeys(WHOLE_HOST, "none")}.get(cpu.mode or "")
