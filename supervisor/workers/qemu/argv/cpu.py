"""-accel, -cpu and -smp.

Owns: how the accelerator, the CPU model with its features, and the topology are written.
May touch: values only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from conf.domain.vcpu_states import started_vcpus
from conf.emulator import QEMU_FEATURE_NAMES
from conf.errors import ConfError
from conf.types.size import Amount, to_kib
from supervisor.workers.qemu.argv.launch_inputs import Context, Options
from supervisor.workers.qemu.argv.syntax import on_off

ON_POLICIES: Final = ("force", "require")
OFF_POLICIES: Final = ("disable", "forbid")
HYPERV_NAMES: Final = {
    "relaxed": "hv-relaxed", "vapic": "hv-vapic", "vpindex": "hv-vpindex",
    "runtime": "hv-runtime", "synic": "hv-synic", "reset": "hv-reset",
    "frequencies": "hv-frequencies", "reenlightenment": "hv-reenlightenment",
    "tlbflush": "hv-tlbflush", "ipi": "hv-ipi", "evmcs": "hv-evmcs", "avic": "hv-avic",
}  # fmt: skip


def accelerator(context: Context) -> Options:
    """Build -accel."""
    domain = context.domain
    features = domain.features
    if domain.type == "kvm":
        if not context.facts.kvm_usable:
            raise ConfError(
                "config_unsupported",
                "Emulator does not support virt type 'kvm': /dev/kvm cannot be used on this host; "
                "load the kvm module, or define the domain with type='qemu'",
            )
        ring = features.kvm.dirty_ring if features and features.kvm else None
        size = f",dirty-ring-size={ring.size}" if ring and ring.state else ""
        yield "-accel", f"kvm{size}"
    elif domain.type == "qemu":
        cache = features.tcg.tb_cache if features and features.tcg else None
        yield "-accel", "tcg" if cache is None else f"tcg,tb-size={_mib(cache)}"
    else:
        raise ConfError(
            "config_unsupported", f"unsupported virt type '{domain.type}'; use 'kvm' or 'qemu'"
        )


def _mib(size: Amount) -> int:
    return to_kib(size.amount, size.unit) // 1024


def smp(context: Context) -> Options:
    """Build -smp: the vcpus that stay, and the topology; the others are plugged before it runs."""
    current, maximum = started_vcpus(context.domain), context.domain.maximum_vcpus
    cpu = context.domain.cpu
    topology = cpu.topology if cpu else None
    parts = [str(current)]
    if current != maximum:
        parts.append(f"maxcpus={maximum}")
    if topology is None:
        parts += [f"sockets={maximum}", "cores=1", "threads=1"]
    else:
        parts.append(f"sockets={topology.sockets}")
        parts.append(f"dies={topology.dies}")
        parts += [f"cores={topology.cores}", f"threads={topology.threads}"]
    yield "-smp", ",".join(parts)


def cpu(context: Context) -> Options:
    """Build -cpu: the model, then added and removed features, in libvirt's order."""
    model = _model(context)
    parts = [
        model,
        *_vendor(context),
        *_policies(context),
        *_clock_parts(context),
        *_apic_parts(context),
    ]
    parts += [*_panic_parts(context), *_hyperv_parts(context), *_kvm_parts(context)]
    parts += [*_pmu_parts(context), *_cache_parts(context), *_address_parts(context)]
    yield "-cpu", ",".join(parts)


def _model(context: Context) -> str:
    cpu = context.domain.cpu
    machine = context.facts.machine(context.machine)
    default = machine.default_cpu if machine and machine.default_cpu else "qemu64"
    if cpu is None:
        return default
    if cpu.mode == "host-passthrough":
        return "host" if cpu.migratable is not True else "host,migratable=on"
    if cpu.mode == "maximum":
        # libvirt's default is QEMU's: what it emulates says nothing of migration.
        return "max" if cpu.migratable is None else f"max,migratable={on_off(cpu.migratable)}"
    if cpu.mode == "host-model":
        # Of an architecture whose models are not known here: a start names them on x86.
        return "host,migratable=on" if context.domain.type == "kvm" else "max"
    name = (cpu.model.name if cpu.model else None) or default
    if context.facts.cpu_model(context.domain.type, name) is None:
        raise ConfError(
            "config_unsupported",
            f"the CPU model '{name}' is not known to the emulator {context.facts.binary}",
        )
    return name


def _vendor(context: Context) -> Iterator[str]:
    """Write the CPU vendor that the guest sees."""
    cpu = context.domain.cpu
    if cpu is not None and cpu.model is not None and cpu.model.vendor_id:
        yield f"vendor={cpu.model.vendor_id}"


def _policies(context: Context) -> Iterator[str]:
    """Write the features that <cpu> adds and removes."""
    cpu = context.domain.cpu
    for feature in cpu.features if cpu else ():
        if feature.policy in ON_POLICIES or feature.policy is None:
            yield f"{QEMU_FEATURE_NAMES.get(feature.name, feature.name)}=on"
        elif feature.policy in OFF_POLICIES:
            yield f"{QEMU_FEATURE_NAMES.get(feature.name, feature.name)}=off"


def _clock_parts(context: Context) -> Iterator[str]:
    """Write the timers that are CPU features."""
    for timer in context.domain.clock.timers if context.domain.clock else ():
        if timer.name == "kvmclock" and timer.present is not None:
            yield f"kvmclock={on_off(timer.present)}"
        elif timer.name == "hypervclock" and timer.present:
            yield "hv-time=on"
        elif timer.name == "tsc" and timer.frequency:
            yield f"tsc-frequency={timer.frequency}"


def _apic_parts(context: Context) -> Iterator[str]:
    features = context.domain.features
    if features is None:
        return
    if features.apic is not None and features.apic.eoi is not None:
        yield f"kvm-pv-eoi={on_off(features.apic.eoi)}"
    if features.pvspinlock is not None:
        yield f"kvm-pv-unhalt={on_off(features.pvspinlock)}"


def _panic_parts(context: Context) -> Iterator[str]:
    if any(panic.model == "hyperv" for panic in context.domain.devices.panics):
        yield "hv-crash"


def _hyperv_parts(context: Context) -> Iterator[str]:
    features = context.domain.features
    hyperv = features.hyperv if features else None
    if hyperv is None:
        return
    if hyperv.mode == "passthrough":
        yield "hv-passthrough=on"
    for name, option in HYPERV_NAMES.items():
        if getattr(hyperv, name):
            yield f"{option}=on"
    if hyperv.spinlocks is not None and hyperv.spinlocks.state:
        yield f"hv-spinlocks={hyperv.spinlocks.retries or 0:#x}"
    if hyperv.stimer is not None and hyperv.stimer.state:
        yield "hv-stimer=on"
        if hyperv.stimer.direct:
            yield "hv-stimer-direct=on"
    if hyperv.vendor_id is not None and hyperv.vendor_id.state:
        yield f"hv-vendor-id={hyperv.vendor_id.value}"


def _kvm_parts(context: Context) -> Iterator[str]:
    features = context.domain.features
    kvm = features.kvm if features else None
    if kvm is None:
        return
    if kvm.hidden:
        yield "kvm=off"
    if kvm.hint_dedicated:
        yield "kvm-hint-dedicated=on"
    if kvm.poll_control:
        yield "kvm-poll-control=on"
    if kvm.pv_ipi is False:
        yield "kvm-pv-ipi=off"


def _pmu_parts(context: Context) -> Iterator[str]:
    features = context.domain.features
    if features is not None and features.pmu is not None:
        yield f"pmu={on_off(features.pmu)}"


def _cache_parts(context: Context) -> Iterator[str]:
    """Write the CPU cache that the guest sees."""
    cpu = context.domain.cpu
    if cpu is None or cpu.cache is None:
        return
    hostly = cpu.mode in ("host-passthrough", "maximum")
    if cpu.cache.mode == "emulate":
        yield "l3-cache=on"
        if hostly:
            yield "host-cache-info=off"
    elif cpu.cache.mode == "passthrough":
        yield "host-cache-info=on"
        yield "l3-cache=off"
    elif cpu.cache.mode == "disable":
        if hostly:
            yield "host-cache-info=off"
        yield "l3-cache=off"


def _address_parts(context: Context) -> Iterator[str]:
    """Write the width of physical addresses."""
    cpu = context.domain.cpu
    if cpu is None or cpu.maxphysaddr is None:
        return
    if cpu.maxphysaddr.mode == "passthrough":
        yield "host-phys-bits=on"
        if cpu.maxphysaddr.limit is not None:
            yield f"host-phys-bits-limit={cpu.maxphysaddr.limit}"
    elif cpu.maxphysaddr.bits is not None:
        yield f"phys-bits={cpu.maxphysaddr.bits}"
