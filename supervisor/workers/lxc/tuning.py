"""Tuning of a running container: read its cgroup limits from the kernel, and change them.

Owns: which limits change, and undoing a failed change. May touch: the container's cgroups.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Final

from conf.domain import Domain
from conf.domain.resources import copy_fields, copy_for_edit
from rpc.enums import TypedParameterType as P
from rpc.errors import VirError
from supervisor.drivers.lxc import LXC
from supervisor.messages.worker import StatsParam
from supervisor.objects.cgroup_controllers import require_controller
from supervisor.objects.tuning_edits import FIELDS, edit_running
from supervisor.workers.cgroups import readings, scopes
from supervisor.workers.cgroups.changes import plan_change, write_limits
from supervisor.workers.cgroups.group import Group, Limit
from supervisor.workers.cgroups.limits import has_bfq, limits_from
from supervisor.workers.lxc import checks
from supervisor.workers.lxc.container import Container


async def set_tuning(
    container: Container, controller: str, values: Mapping[str, int | str]
) -> None:
    """Set limits of <memtune>, <cputune> or <blkiotune>, or <currentMemory>.

    Args:
        container: the running container.
        controller: as in `SetTuning`.
        values: as in `SetTuning`.

    Raises:
        ConfError: a number is out of range. VirError: INVALID_ARG; the kernel refuses, or systemd
            does not keep a weight; the former limits hold.
    """
    requested = copy_for_edit(container.domain, FIELDS[controller])
    edit_running(requested, controller, values, LXC.errors)
    group = container.cgroup
    before, after = limits_of(group, container.domain), limits_of(group, requested)
    kept = await scopes.change_weights(group.scope, before, after)
    try:
        for place in group.with_scope:
            former, new = (
                [each for each in limits if group.owner_of(each) == place]
                for limits in (before, after)
            )
            write_limits(place, plan_change(former, new), former)
    except VirError:
        for limit in before:
            group.owner_of(limit).restore(limit)
        await scopes.set_weights(group.scope, kept)
        raise
    copy_fields(requested, container.domain, FIELDS[controller])
    container.update_xml(frozenset(FIELDS[controller]))


def limits_of(group: Group, domain: Domain) -> list[Limit]:
    """List all limits of a container.

    Raises:
        ConfError: a number is out of range.
    """
    v1_controllers, numbers = group.layout.v1_controllers, checks.device_numbers(domain)
    return limits_from(domain, v1_controllers, numbers, bfq=has_bfq(group))


def get_tuning(container: Container, controller: str) -> list[StatsParam]:
    """Read the limits of one controller from the kernel.

    Raises:
        VirError: OPERATION_INVALID: the host lacks it; SYSTEM_ERROR.
    """
    group = container.cgroup
    require_controller(controller, LXC.errors, present=group.has(controller))
    if controller not in READERS:
        return []
    return list(READERS[controller](group))


def _scheduler(group: Group) -> Iterator[StatsParam]:
    yield StatsParam("cpu_shares", P.ULLONG, readings.shares(group.weights))
    bandwidth = readings.bandwidth(group)
    yield StatsParam("vcpu_period", P.ULLONG, bandwidth.period)
    yield StatsParam("vcpu_quota", P.LLONG, bandwidth.quota)


def _memory(group: Group) -> Iterator[StatsParam]:
    for name, kib in readings.memory(group).items():
        yield StatsParam(name, P.ULLONG, kib)


def _blkio(group: Group) -> Iterator[StatsParam]:
    with contextlib.suppress(VirError):  # the host has no I/O scheduler with weights
        yield StatsParam("weight", P.UINT, readings.blkio_weight(group.weights))


READERS: Final = {"cpu": _scheduler, "memory": _memory, "blkio": _blkio}
