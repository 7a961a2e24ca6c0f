"""Checks of vcpus, memory and I/O threads of a completed QEMU domain.

Owns: these checks of a completed domain. Pure: a domain is read, never changed.
Source: libvirt 9.0, measured.
"""

from __future__ import annotations

from typing import Final

from conf.domain.cpu import Cpu
from conf.domain.model import Domain
from conf.domain.tuning import DefaultIoThread, IoThread, VcpuState
from conf.emulator import EmulatorFacts
from conf.errors import ConfError
from conf.types.cpuset import parse_cpuset
from conf.types.repeats import first_repeated

UNSUPPORTED: Final = "config_unsupported"
APIC_IDS: Final = 255  # what an xAPIC can name
SHARES: Final = (2, 262144)
PERIODS: Final = (1000, 1000000)  # microseconds, as the quotas
QUOTAS: Final = (1000, 17592186044415)
EMULATED_CACHE: Final = 3  # the one level that QEMU invents


def check_vcpus(domain: Domain, facts: EmulatorFacts) -> None:
    """Check their number, their order and who has them.

    Raises:
        ConfError: they cannot be.
    """
    if domain.vcpu is not None and domain.vcpu.current == 0:
        raise ConfError(UNSUPPORTED, "vcpu 0 can't be offline", "domain/vcpu/@current")
    machine = facts.machine(domain.os.type.machine or "")
    if machine is not None and domain.maximum_vcpus > machine.max_cpus:
        detail = f"Maximum CPUs greater than specified machine type limit {machine.max_cpus}"
        raise ConfError(UNSUPPORTED, detail, "domain/vcpu")
    iommu = domain.devices.iommu
    wide = iommu is not None and iommu.driver is not None and iommu.driver.eim
    q35 = (domain.os.type.machine or "").startswith("pc-q35")
    if q35 and domain.maximum_vcpus > APIC_IDS and not wide:
        detail = (
            f"more than {APIC_IDS} vCPUs require extended interrupt mode enabled on the iommu "
            "device"
        )
        raise ConfError(UNSUPPORTED, detail, "domain/devices/iommu")
    _check_vcpu_order(domain)
    topology = domain.cpu.topology if domain.cpu else None
    if topology is not None:
        places = topology.sockets * topology.dies * topology.cores * topology.threads
        if places != domain.maximum_vcpus:
            detail = "CPU topology doesn't match maximum vcpu count"
            raise ConfError(UNSUPPORTED, detail, "domain/cpu/topology")


def check_cputune(domain: Domain) -> None:
    """Check that the kernel can keep the shares and the bandwidth.

    Raises:
        ConfError: it cannot.
    """
    tune = domain.cputune
    if tune is None:
        return
    if tune.shares is not None:
        _check_range("shares", tune.shares, SHARES)
    for suffix, limits in (("period", PERIODS), ("quota", QUOTAS)):
        for prefix in ("", "global_", "emulator_", "iothread_"):
            value = getattr(tune, f"{prefix}{suffix}")
            if value is not None and value > 0:
                _check_range(f"{prefix}{suffix}", value, limits)


def _check_range(name: str, value: int, limits: tuple[int, int]) -> None:
    least, most = limits
    if not least <= value <= most:
        detail = f"Value of cputune '{name}' must be in range [{least}, {most}]"
        raise ConfError(UNSUPPORTED, detail, f"domain/cputune/{name}")


def _check_vcpu_order(domain: Domain) -> None:
    if not domain.vcpus:
        return
    first, *others = domain.vcpus
    path = "domain/vcpus/vcpu"
    if not first.enabled:
        raise ConfError(UNSUPPORTED, "vcpu 0 can't be offline", path)
    if first.hotpluggable:
        raise ConfError(UNSUPPORTED, "vcpu0 can't be hotpluggable", path)
    if first.order not in (None, 1):
        raise ConfError(UNSUPPORTED, "vcpu0 must be enabled first", path)
    before = first
    for vcpu in others:
        if vcpu.enabled:
            _check_next_vcpu(before, vcpu)
            before = vcpu


def _check_next_vcpu(before: VcpuState, vcpu: VcpuState) -> None:
    path = "domain/vcpus/vcpu"
    if (vcpu.order is None) != (before.order is None):
        detail = "all vcpus must have either set or unset order"
        raise ConfError(UNSUPPORTED, detail, path)
    if vcpu.hotpluggable:
        return
    if before.hotpluggable:
        detail = "online non-hotpluggable vcpus need to be ordered prior to hotplugable vcpus"
        raise ConfError(UNSUPPORTED, detail, path)
    if (vcpu.order or 0) < (before.order or 0):
        detail = "online non-hotpluggable vcpus must be ordered in ascending order"
        raise ConfError(UNSUPPORTED, detail, path)


def check_cpu(domain: Domain) -> None:
    """Check the CPU's mode against what it is to have.

    Raises:
        ConfError: it cannot be.
    """
    cpu = domain.cpu
    if cpu is None:
        return
    if cpu.migratable is not None and cpu.mode not in ("host-passthrough", "maximum"):
        detail = "Attribute migratable is only allowed for 'host-passthrough' / 'maximum' CPU mode"
        raise ConfError(UNSUPPORTED, detail, "domain/cpu/@migratable")
    _check_cache(cpu)
    _check_address_width(cpu)


def _check_cache(cpu: Cpu) -> None:
    cache = cpu.cache
    if cache is None:
        return
    path = "domain/cpu/cache"
    if cache.level is not None and not 1 <= cache.level <= EMULATED_CACHE:
        raise ConfError("xml", "invalid CPU cache level, must be in range [1,3]", path)
    if cache.mode == "passthrough" and cpu.mode != "host-passthrough":
        detail = "CPU cache mode 'passthrough' can only be used with 'host-passthrough' CPUs"
        raise ConfError(UNSUPPORTED, detail, path)
    allowed = {"emulate": (None, EMULATED_CACHE), "passthrough": (None,), "disable": (None,)}
    if cache.level not in allowed.get(cache.mode, (None,)):
        detail = f"unsupported CPU cache level for mode '{cache.mode}'"
        raise ConfError(UNSUPPORTED, detail, path)


def _check_address_width(cpu: Cpu) -> None:
    width = cpu.maxphysaddr
    if width is None:
        return
    path = "domain/cpu/maxphysaddr"
    if width.mode == "passthrough":
        if cpu.mode != "host-passthrough":
            detail = (
                "CPU maximum physical address bits mode 'passthrough' can only be used with "
                "'host-passthrough' CPUs"
            )
            raise ConfError(UNSUPPORTED, detail, path)
        if width.bits is not None:
            detail = (
                "CPU maximum physical address bits number specification cannot be used with "
                "mode 'passthrough'"
            )
            raise ConfError(UNSUPPORTED, detail, path)
    elif width.bits is None:
        detail = "if using CPU maximum physical address mode='emulate', bits= must be specified"
        raise ConfError(UNSUPPORTED, detail, path)


def check_memory(domain: Domain) -> None:
    """Check what can be plugged in.

    Raises:
        ConfError: it cannot be.
    """
    top = domain.max_memory
    if top is not None:
        if not (top.amount and top.slots):
            detail = "both maximum memory size and memory slot count must be specified"
            raise ConfError("xml", detail, "domain/maxMemory")
        if top.amount < domain.memory:
            detail = "maximum memory size must be equal or greater than the actual memory size"
            raise ConfError("xml", detail, "domain/maxMemory")
        cells = domain.cpu.numa.cells if domain.cpu and domain.cpu.numa else []
        if not cells:
            detail = "At least one numa node has to be configured when enabling memory hotplug"
            raise ConfError(UNSUPPORTED, detail, "domain/maxMemory")


def _check_thread_pools(domain: Domain) -> None:
    pools: list[IoThread | DefaultIoThread] = list(domain.iothread_list())
    if domain.default_iothread is not None:
        pools.insert(0, domain.default_iothread)
    for thread in pools:
        low, high = thread.thread_pool_min, thread.thread_pool_max
        if low is not None and low > (-1 if high is None else high):
            detail = "thread_pool_min must be smaller or equal to thread_pool_max"
            raise ConfError(UNSUPPORTED, detail, "domain/iothreadids/iothread")


def check_threads(domain: Domain) -> None:
    """Check that what is tuned is there.

    Raises:
        ConfError: an I/O thread is missing, or is listed twice.
    """
    _check_thread_pools(domain)
    thread_ids = [thread.id for thread in domain.iothread_list()]
    twice = first_repeated(thread_ids)
    if twice is not None:
        detail = f"duplicate iothread id '{twice}' found"
        raise ConfError("xml", detail, "domain/iothreadids/iothread")
    present = set(thread_ids)
    tune = domain.cputune
    if tune is None:
        return
    referenced = [pin.iothread for pin in tune.iothreadpins]
    referenced.extend(
        n for sched in tune.iothreadscheds for n in sorted(parse_cpuset(sched.iothreads))
    )
    for number in referenced:
        if number not in present:
            detail = f"Cannot find 'iothread' : {number}"
            raise ConfError(UNSUPPORTED, detail, "domain/cputune")
    for sched in tune.vcpuscheds:
        for vcpu in sorted(parse_cpuset(sched.vcpus)):
            if vcpu >= domain.maximum_vcpus:
                detail = f"vCPU '{vcpu}' is not present in domain definition"
                raise ConfError(UNSUPPORTED, detail, "domain/cputune/vcpusched/@vcpus")
