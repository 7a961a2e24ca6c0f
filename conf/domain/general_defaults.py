"""Memory, vcpus, tuning, features and time where the XML has no value.

Owns: those open values. Pure; changes the domain that it is given.
Source: libvirt 9.0, measured.
"""

from __future__ import annotations

from dataclasses import replace

from conf.domain.clock import Clock
from conf.domain.cpu_defaults import MAX_VCPUS
from conf.domain.model import Domain
from conf.domain.tuning import BootMemory, Cputune, NumaMemory, Numatune, Vcpu, VcpuState
from conf.errors import ConfError
from conf.types.cpuset import parse_cpuset
from conf.types.size import Amount


def complete_memory(domain: Domain) -> None:
    """Add up NUMA cells and memory devices; <currentMemory> is at most that.

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
    """Add one vcpu where the XML has no <vcpu>, and complete its parts."""
    vcpu = domain.vcpu = domain.vcpu or Vcpu()
    memory = domain.numatune.memory if domain.numatune else None
    if vcpu.placement is None:
        chosen_for_memory = memory is not None and memory.placement == "auto"
        vcpu.placement = "auto" if chosen_for_memory and not vcpu.cpuset else "static"
    if vcpu.placement == "auto":
        vcpu.cpuset = None
    if vcpu.current is None and domain.vcpus:
        vcpu.current = sum(state.enabled for state in domain.vcpus)
    if vcpu.current == vcpu.maximum:
        vcpu.current = None
    if domain.vcpus and vcpu.maximum <= MAX_VCPUS:  # more are refused later
        domain.vcpus = _complete_vcpu_list(domain.vcpus, vcpu.maximum)


def _complete_vcpu_list(in_document: list[VcpuState], maximum: int) -> list[VcpuState]:
    """List every possible vcpu by id; those not in the XML are disabled."""
    by_id = {state.id: state for state in in_document if state.id < maximum}
    states = [by_id.get(number) or VcpuState(id=number) for number in range(maximum)]
    for state in states:
        if state.hotpluggable is None:
            state.hotpluggable = not state.enabled
    return states


def complete_tuning(domain: Domain) -> None:
    """Assign the I/O threads' ids, choose the NUMA placement, sort the vcpu pins."""
    if domain.iothread_ids:
        domain.iothread_ids = domain.iothread_list()
        domain.iothreads = len(domain.iothread_ids)
    _complete_numatune(domain)
    tune = domain.cputune
    if tune is not None:
        _complete_vcpupins(domain, tune)


def _complete_vcpupins(domain: Domain, tune: Cputune) -> None:
    order = {thread.id: place for place, thread in enumerate(domain.iothread_list())}
    # Pins of vcpus that there are not say nothing.
    pins = [pin for pin in tune.vcpupins if pin.vcpu < domain.maximum_vcpus]
    tune.vcpupins = sorted(pins, key=lambda pin: pin.vcpu)
    tune.iothreadpins.sort(key=lambda pin: order.get(pin.iothread, len(order)))
    tune.vcpuscheds = sorted(
        (
            replace(sched, vcpus=str(vcpu))
            for sched in tune.vcpuscheds
            for vcpu in parse_cpuset(sched.vcpus)
        ),
        key=lambda sched: int(sched.vcpus),
    )
    tune.iothreadscheds = sorted(
        (
            replace(sched, iothreads=str(thread))
            for sched in tune.iothreadscheds
            for thread in parse_cpuset(sched.iothreads)
        ),
        key=lambda sched: order.get(int(sched.iothreads), len(order)),
    )


def _complete_numatune(domain: Domain) -> None:
    automatic = domain.vcpu is not None and domain.vcpu.placement == "auto"
    if domain.numatune is None:
        if not automatic:
            return
        domain.numatune = Numatune()
    domain.numatune.memnodes.sort(key=lambda node: node.cellid)
    memory = domain.numatune.memory
    if memory is None and automatic:
        memory = domain.numatune.memory = NumaMemory()
    if memory is None:
        return
    memory.mode = memory.mode or "strict"
    if not memory.nodeset and memory.placement in (None, "static") and not automatic:
        detail = "nodeset for NUMA memory tuning must be set if 'placement' is 'static'"
        raise ConfError("config_unsupported", detail, "domain/numatune/memory/@nodeset")
    if memory.placement is None and not memory.nodeset and automatic:
        memory.placement = "auto"
    if memory.placement == "auto":
        if domain.numatune.memnodes:
            detail = "Per-node binding is not compatible with automatic NUMA placement."
            raise ConfError("config_unsupported", detail, "domain/numatune/memnode")
        memory.nodeset = None
    else:
        memory.placement = None  # "static" goes without saying


def complete_seclabels(domain: Domain) -> None:
    """Give a <seclabel> without a model that of the host's first security driver: "none".

    One without a type says nothing.

    Raises:
        ConfError: "xml": a label of no model.
    """
    for label in domain.seclabels:
        if label.model is not None:
            continue
        if label.type != "none" and (label.type != "dynamic" or label.baselabel is not None):
            detail = "missing security model in domain seclabel"
            raise ConfError("xml", detail, "domain/seclabel/@model")
        label.type, label.model, label.relabel = "none", "none", None
    domain.seclabels = [label for label in domain.seclabels if label.type is not None]


def complete_features(domain: Domain) -> None:
    """Set the mode of <hyperv>, "custom" by default."""
    features = domain.features
    if features is not None and features.hyperv is not None and features.hyperv.mode is None:
        features.hyperv.mode = "custom"


def complete_clock(domain: Domain) -> None:
    """Add a <clock> of offset "utc"; give a variable one an adjustment of 0 s from UTC."""
    clock = domain.clock = domain.clock or Clock()
    if clock.offset == "variable":
        clock.adjustment = clock.adjustment or "0"
        clock.basis = clock.basis or "utc"
