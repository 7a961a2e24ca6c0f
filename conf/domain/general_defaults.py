"""Memory, vcpus, tuning, features and time where a document does not say.

Owns: those open values. Pure; changes the domain that it is given.
Source: libvirt 9.0, measured.
"""

from __future__ import annotations

from conf.domain.clock import Clock
from conf.domain.model import Domain
from conf.domain.tuning import BootMemory, Vcpu
from conf.domain.words import Amount
from conf.errors import ConfError


def complete_memory(domain: Domain) -> None:
    """Sum up the cells' and the pluggable memory; the balloon is what there is unless it is less.

    Raises:
        ConfError: "xml": nothing says how much memory there is.
    """
    boot = domain.boot_memory = domain.boot_memory or BootMemory()
    cells = domain.cpu.numa.cells if domain.cpu and domain.cpu.numa else []
    in_cells = sum(cell.memory for cell in cells)
    plugged = sum(memory.target.size for memory in domain.devices.memories)
    if in_cells:
        boot.amount = in_cells + plugged
    if boot.amount <= plugged:
        detail = "Memory size must be specified via <memory> or in the <numa> configuration"
        raise ConfError("xml", detail, "domain/memory")
    current = domain.current_memory
    if current is None or not 0 < current.amount <= boot.amount:
        domain.current_memory = Amount(amount=boot.amount)


def complete_vcpus(domain: Domain) -> None:
    """One vcpu that runs anywhere, unless said otherwise."""
    vcpu = domain.vcpu = domain.vcpu or Vcpu()
    if vcpu.placement is None:
        vcpu.placement = "static"
    if vcpu.placement == "auto":
        vcpu.cpuset = None
    if vcpu.current is None and domain.vcpus:
        vcpu.current = sum(state.enabled for state in domain.vcpus)
    if vcpu.current == vcpu.maximum:
        vcpu.current = None
    domain.vcpus.sort(key=lambda state: state.id)


def complete_tuning(domain: Domain) -> None:
    """Threads that have numbers are counted; cells of the host are chosen by hand if named."""
    if domain.iothread_ids or domain.iothreads:
        domain.iothreads = max(domain.iothreads or 0, len(domain.iothread_ids))
    memory = domain.numatune.memory if domain.numatune else None
    if memory is not None:
        memory.mode = memory.mode or "strict"


def complete_features(domain: Domain) -> None:
    """Say in which way Hyper-V's features are chosen."""
    features = domain.features
    if features is not None and features.hyperv is not None and features.hyperv.mode is None:
        features.hyperv.mode = "custom"


def complete_clock(domain: Domain) -> None:
    """A clock that begins at UTC."""
    clock = domain.clock = domain.clock or Clock()
    if clock.offset == "variable":
        clock.adjustment = clock.adjustment or "0"
        clock.basis = clock.basis or "utc"
