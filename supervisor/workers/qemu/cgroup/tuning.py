"""Tuning of a running QEMU: read the limits of its groups from the kernel, and change them.

Owns: which values change, and undoing a failed change. May touch: the guest's groups.
Source: libvirt 9.0, qemuDomainSetSchedulerParametersFlags, qemuDomainGetSchedulerParametersFlags,
virDomainCgroupSetMemoryLimitParameters, virDomainCgroupSetupDomainBlkioParameters.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from conf.domain import Domain
from conf.domain.resources import copy_fields, copy_for_edit
from conf.domain.tuning import Cputune
from rpc.enums import DomainEventID
from rpc.enums import TypedParameterType as P
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import TypedParam, TypedValue
from supervisor.drivers.qemu import QEMU
from supervisor.messages.worker import LimitFile, StatsParam
from supervisor.objects.cgroup_controllers import require_controller
from supervisor.objects.tuning_edits import FIELDS, edit_running
from supervisor.workers.cgroups import readings, scopes
from supervisor.workers.cgroups.block_devices import block_device_numbers
from supervisor.workers.cgroups.changes import plan_change, write_limits
from supervisor.workers.cgroups.group import Group, Limit
from supervisor.workers.cgroups.limits import UNLIMITED_KIB, has_bfq
from supervisor.workers.qemu.cgroup.guest_cgroup import EMULATOR, IOTHREAD, VCPU, GuestCgroup
from supervisor.workers.qemu.cgroup.settings import (
    BANDWIDTHS,
    QUOTAS,
    guest_limits,
    thread_bandwidth,
    thread_mems,
)
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.memory_policy import check_nodes, host_nodes

LIMITS: Final = ("hard_limit", "soft_limit", "swap_hard_limit")


async def set_tuning(guest: Guest, controller: str, values: Mapping[str, int | str]) -> None:
    """Set limits of <memtune>, <cputune>, <blkiotune> or <numatune>.

    Args:
        guest: the running guest.
        controller: of the limits.
        values: as in `SetTuning`.

    Raises:
        ConfError: a number is out of range. VirError: INVALID_ARG; OPERATION_INVALID: the guest's
            group lacks the controller; SYSTEM_ERROR: the kernel refuses; DBUS_SERVICE,
            OPERATION_TIMEOUT: systemd does not keep a weight. The former limits hold.
    """
    requested = copy_for_edit(guest.domain, FIELDS[controller])
    edit_running(requested, controller, values, QEMU.errors)
    await apply_tuning(guest, controller, requested)


async def apply_tuning(guest: Guest, controller: str, requested: Domain) -> None:
    """Set the limits of a model in the guest's groups, and take them over into its own model.

    Raises:
        As `set_tuning`.
    """
    cgroup = guest.cgroup
    require_controller(controller, QEMU.errors, present=controller in cgroup.controllers)
    changes = []
    if controller in PER_THREAD and not _same_for_threads(guest.domain, requested, controller):
        limits_of = PER_THREAD[controller]
        for name in cgroup.thread_names():
            before, after = (limits_of(cgroup, each, name) for each in (guest.domain, requested))
            changes.append(Change(cgroup.thread(name), before, after))
    before, after = (_guest_limits(cgroup, each) for each in (guest.domain, requested))
    kept = await scopes.change_weights(cgroup.group.scope, before, after)
    whole = [
        Change(group, *(own_limits(cgroup, group, each) for each in (before, after)))
        for group in cgroup.group.with_scope
    ]
    try:
        _write_all([*whole, *changes])
    except VirError:
        await scopes.set_weights(cgroup.group.scope, kept)
        raise
    copy_fields(requested, guest.domain, FIELDS[controller])
    drop_unlimited(guest.domain)
    guest.update_xml(frozenset(FIELDS[controller]))


def _same_for_threads(before: Domain, after: Domain, controller: str) -> bool:
    """Return whether no thread's own limits change: its group need not be looked for then."""
    if controller != "cpu":
        return False
    old, new = before.cputune or Cputune(), after.cputune or Cputune()
    return all(getattr(old, name) == getattr(new, name) for name in (*BANDWIDTHS, *QUOTAS))


@dataclass(frozen=True, slots=True)
class Change:
    """The limits of one group before and after."""

    group: Group
    before: list[Limit]
    after: list[Limit]


def own_limits(cgroup: GuestCgroup, group: Group, limits: list[Limit]) -> list[Limit]:
    """List those limits of the whole guest that one group has."""
    return [limit for limit in limits if cgroup.group.owner_of(limit) == group]


def _write_all(changes: list[Change]) -> None:
    """Write the changed limits of several groups; if one is refused, all are as before."""
    done: list[tuple[Group, list[Limit]]] = []
    try:
        for change in changes:
            group, planned = change.group, plan_change(change.before, change.after)
            for limit in planned:
                check_weight(group, limit)
            done.append((group, current_values(group, planned)))
            write_limits(group, planned, done[-1][1])
    except VirError:
        for group, values in done:
            for limit in (*values, *reversed(values)):
                group.restore(limit)
        raise


def current_values(group: Group, limits: list[Limit]) -> list[Limit]:
    """Read what a change will replace; a device's throttle is reset instead of read."""
    values = []
    for limit in limits:
        if " " in limit.value and limit.file != "cpu.max":
            continue
        with contextlib.suppress(VirError):
            values.append(
                Limit(limit.controller, limit.file, group.read(limit.controller, limit.file))
            )
    return values


def check_weight(group: Group, limit: Limit) -> None:
    """Refuse an I/O weight where the host's I/O scheduler has none.

    Raises:
        VirError: OPERATION_INVALID.
    """
    is_weight = limit.controller == "blkio" and "weight" in limit.file
    if is_weight and not (group.layout.folder("blkio", group.path) / limit.file).exists():
        detail = "blkio device weight is valid only for cfq scheduler"
        raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.CGROUP)


def drop_unlimited(domain: Domain) -> None:
    """Drop from the live XML what is no limit: it was there to be written."""
    tune = domain.memtune
    for name in LIMITS if tune is not None else ():
        limit = getattr(tune, name)
        if limit is not None and not 0 < limit.amount < UNLIMITED_KIB:
            setattr(tune, name, None)


def _guest_limits(cgroup: GuestCgroup, domain: Domain) -> list[Limit]:
    group, tune = cgroup.group, domain.blkiotune
    numbers = block_device_numbers(tune.devices) if tune is not None else {}
    bfq = tune is not None and has_bfq(group)
    return guest_limits(domain, group.layout.v1_controllers, numbers, bfq=bfq)


def _bandwidth(cgroup: GuestCgroup, domain: Domain, name: str) -> list[Limit]:
    return thread_bandwidth(domain.cputune, name, cgroup.group.layout.v1_controllers)


def _mems(cgroup: GuestCgroup, domain: Domain, name: str) -> list[Limit]:
    """List the nodes of a thread's group.

    Raises:
        ConfError: "config_unsupported": the host has no such node.
    """
    nodes = thread_mems(domain, name)
    if nodes is None or not cgroup.has_threads("cpuset"):
        return []
    check_nodes(nodes, host_nodes())
    return [Limit("cpuset", "cpuset.mems", nodes)]


def publish_tunable(guest: Guest, parameters: Iterable[StatsParam]) -> None:
    """Publish the TUNABLE event of a change."""
    typed = [TypedParam(each.field, TypedValue(each.type, each.value)) for each in parameters]
    guest.publish_event(DomainEventID.TUNABLE, guest.identity, typed)


def get_tuning(guest: Guest, controller: str) -> list[StatsParam]:
    """Read the limits of one controller from the kernel.

    Raises:
        VirError: OPERATION_INVALID: the guest's group lacks it; SYSTEM_ERROR.
    """
    cgroup = guest.cgroup
    require_controller(controller, QEMU.errors, present=controller in cgroup.controllers)
    return list(READERS[controller](cgroup)) if controller in READERS else []


def open_scheduler(cgroup: GuestCgroup) -> list[LimitFile]:
    """Open the files that `_scheduler` reads: whoever has them reads them without this process.

    Raises:
        VirError: SYSTEM_ERROR: one cannot be opened.
    """
    weights = cgroup.group.weights
    opened = [LimitFile(("cpu_shares",), weights.open("cpu", readings.shares_file(weights)))]
    for prefix, group in _bandwidth_groups(cgroup).items():
        if group is None:
            continue
        for file, words in readings.bandwidth_files(group).items():
            fields = tuple(f"{prefix}_{word}" for word in words)
            opened.append(LimitFile(fields, group.open("cpu", file)))
    return opened


def _bandwidth_groups(cgroup: GuestCgroup) -> dict[str, Group | None]:
    """Find the groups that have a bandwidth, by the parameters' prefix; None: there is none."""
    names = sorted(cgroup.thread_names())
    return {
        "vcpu": _first(cgroup, names, VCPU),
        "global": cgroup.group,
        "emulator": _first(cgroup, names, EMULATOR),
        "iothread": _first(cgroup, names, IOTHREAD),
    }


def _scheduler(cgroup: GuestCgroup) -> Iterator[StatsParam]:
    yield StatsParam("cpu_shares", P.ULLONG, readings.shares(cgroup.group.weights))
    for prefix, group in _bandwidth_groups(cgroup).items():
        bandwidth = readings.bandwidth(group) if group is not None else None
        yield StatsParam(f"{prefix}_period", P.ULLONG, bandwidth.period if bandwidth else 0)
        yield StatsParam(f"{prefix}_quota", P.LLONG, bandwidth.quota if bandwidth else 0)


def _first(cgroup: GuestCgroup, names: list[str], prefix: str) -> Group | None:
    """Find the group of the first thread of a kind: all of a kind have the same bandwidth."""
    name = next((name for name in names if name.startswith(prefix)), None)
    return None if name is None else cgroup.thread(name)


def _memory(cgroup: GuestCgroup) -> Iterator[StatsParam]:
    for name, kib in readings.memory(cgroup.group).items():
        yield StatsParam(name, P.ULLONG, kib)


def _blkio(cgroup: GuestCgroup) -> Iterator[StatsParam]:
    with contextlib.suppress(VirError):  # the host has no I/O scheduler with weights
        yield StatsParam("weight", P.UINT, readings.blkio_weight(cgroup.group.weights))


#: What threads have each for itself, by controller.
PER_THREAD: Final[dict[str, Callable[[GuestCgroup, Domain, str], list[Limit]]]] = {
    "cpu": _bandwidth,
    "cpuset": _mems,
}
READERS: Final[dict[str, Callable[[GuestCgroup], Iterator[StatsParam]]]] = {
    "cpu": _scheduler,
    "memory": _memory,
    "blkio": _blkio,
}
