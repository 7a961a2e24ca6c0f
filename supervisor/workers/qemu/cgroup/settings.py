"""What a domain's XML sets in its QEMU's groups, and what a host without them cannot do.

Owns: that translation, and those refusals. Pure.
Source: libvirt 9.0, qemuSetupCgroup, qemuProcessSetupPid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from conf.domain import Domain
from conf.domain.tuning import Blkiotune, Cputune, Memtune
from conf.errors import ConfError
from conf.types.cpuset import parse_cpuset
from supervisor.workers.cgroups.group import Limit
from supervisor.workers.cgroups.limits import (
    bandwidth,
    blkio_limits,
    memtune_limits,
    shares,
)
from supervisor.workers.qemu.cgroup.guest_cgroup import (
    EMULATOR,
    IOTHREAD,
    VCPU,
    iothread_name,
    vcpu_name,
)

BANDWIDTHS = ("period", "global_period", "emulator_period", "iothread_period")
QUOTAS = ("quota", "global_quota", "emulator_quota", "iothread_quota")


def guest_limits(
    domain: Domain,
    v1_controllers: frozenset[str],
    device_numbers: Mapping[str, str],
    *,
    bfq: bool,
) -> list[Limit]:
    """List the limits of the whole guest, in an order in which the kernel accepts them.

    Raises:
        ConfError: a number is out of the controller's range.
    """
    tune = domain.cputune or Cputune()
    limits = memtune_limits(domain.memtune or Memtune(), v1_controllers)
    if tune.shares is not None:
        limits.append(shares(tune.shares, v1_controllers))
    limits += bandwidth(tune.global_period, tune.global_quota, v1_controllers)
    return [
        *limits,
        *blkio_limits(domain.blkiotune or Blkiotune(), v1_controllers, device_numbers, bfq=bfq),
    ]


def thread_limits(
    domain: Domain, name: str, v1_controllers: frozenset[str], has: Callable[[str], bool]
) -> list[Limit]:
    """List what is set in the group of a thread.

    Args:
        domain: the guest's.
        name: of the group: `EMULATOR`, `vcpu_name` or `iothread_name`.
        v1_controllers: the controllers that the host has as version 1.
        has: whether threads have a controller each for itself.
    """
    limits = thread_bandwidth(domain.cputune, name, v1_controllers) if has("cpu") else []
    if has("cpuset"):
        cpus, mems = thread_cpus(domain, name), thread_mems(domain, name)
        limits += [Limit("cpuset", "cpuset.cpus", cpus)] if cpus else []
        limits += [Limit("cpuset", "cpuset.mems", mems)] if mems else []
    return limits


def thread_bandwidth(
    tune: Cputune | None, name: str, v1_controllers: frozenset[str]
) -> list[Limit]:
    """List the CPU bandwidth of a thread's group, by the group's name."""
    if tune is None:
        return []
    if name == EMULATOR:
        period, quota = tune.emulator_period, tune.emulator_quota
    elif name.startswith(IOTHREAD):
        period, quota = tune.iothread_period, tune.iothread_quota
    else:
        period, quota = tune.period, tune.quota
    return bandwidth(period, quota, v1_controllers)


def thread_cpus(domain: Domain, name: str) -> str | None:
    """Return the pin of a thread's group, or that of all threads; None: any CPU."""
    tune = domain.cputune or Cputune()
    if name == EMULATOR:
        pin = tune.emulatorpin
    elif name.startswith(IOTHREAD):
        pins = {iothread_name(each.iothread): each.cpuset for each in tune.iothreadpins}
        pin = pins.get(name)
    else:
        pin = {vcpu_name(each.vcpu): each.cpuset for each in tune.vcpupins}.get(name)
    return pin or (domain.vcpu.cpuset if domain.vcpu is not None else None)


def thread_mems(domain: Domain, name: str) -> str | None:
    """Return the nodes of the host that cpuset keeps a thread's memory on; None: any.

    The modes that prefer nodes or take turns are a policy of the process (`memory_policy`). A vCPU
    of a restrictive guest has the nodes of its own cell.
    """
    tune = domain.numatune
    memory = tune.memory if tune is not None else None
    if tune is None or memory is None or memory.mode not in (None, "strict", "restrictive"):
        return None
    if memory.mode == "restrictive" and name.startswith(VCPU):
        number = int(name.removeprefix(VCPU))
        for cell in domain.cpu.numa.cells if domain.cpu and domain.cpu.numa else ():
            if cell.cpus and number in parse_cpuset(cell.cpus):
                own = (node.nodeset for node in tune.memnodes if node.cellid == cell.id)
                return next(own, memory.nodeset)
    return memory.nodeset


def check_available(domain: Domain, has: Callable[[str], bool], *, session: bool) -> None:
    """Refuse a domain with limits that its guest's group cannot have.

    Args:
        domain: to be started.
        has: whether the group has a controller.
        session: whether the daemon is a user's.

    Raises:
        ConfError: "config_unsupported".
    """
    for controller, on_host, in_session in _needs(domain):
        if not has(controller):
            raise ConfError("config_unsupported", in_session if session else on_host)


def _needs(domain: Domain) -> Iterator[tuple[str, str, str]]:
    """List the controllers that limits need, and the words without them."""
    tune, memory, disks = domain.cputune, domain.memtune, domain.blkiotune
    if memory is not None and (memory.hard_limit or memory.soft_limit or memory.swap_hard_limit):
        yield (
            "memory",
            "Memory cgroup is not available on this host",
            "Memory tuning is not available in session mode",
        )
    if disks is not None and (disks.weight or disks.devices):
        yield (
            "blkio",
            "Block I/O tuning is not available on this host",
            "Block I/O tuning is not available in session mode",
        )
    nodes = domain.numatune.memory if domain.numatune is not None else None
    if nodes is not None and nodes.mode == "restrictive":
        detail = "restrictive NUMA memory needs a cgroup with the cpuset controller"
        yield "cpuset", detail, "NUMA tuning is not available in session mode"
    if tune is None:
        return
    in_session = "CPU tuning is not available in session mode"
    if tune.shares is not None:
        yield "cpu", "CPU tuning is not available on this host", in_session
    if any(getattr(tune, name) for name in (*BANDWIDTHS, *QUOTAS)):
        yield "cpu", "cgroup cpu is required for scheduler tuning", in_session
