"""virConnectGetAllDomainStats: statistics of many domains, in bounded time.

Owns: the statistics that domd knows itself, and the query of all workers at once.
May touch: workers over the bus; /proc. May not touch: definitions' files.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from typing import Final

from conf.domain.devices.disk import Disk
from ipc import BusError, Node
from rpc.enums import ConnectGetAllDomainStatsFlags, DomainStatsTypes, TypedParameterType
from rpc.errors import ErrorCode, VirError
from rpc.values import Domain as DomainId
from rpc.values import DomainStatsRecord, TypedParam, TypedValue
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.service_errors import ServiceErrors
from supervisor.domd.calls.offline import read_sizes
from supervisor.domd.calls.query import QueryCalls
from supervisor.domd.domain import DomainObject
from supervisor.domd.registry import DomainRegistry
from supervisor.drivers.driver import Driver
from supervisor.messages.worker import GetStats
from supervisor.runtime.kvm_stats import halt_poll_times
from supervisor.runtime.procfs import CpuTimes, cpu_times

ALL_GROUPS: Final = sum(DomainStatsTypes)
STEERING: Final = (
    ConnectGetAllDomainStatsFlags.NOWAIT
    | ConnectGetAllDomainStatsFlags.BACKING
    | ConnectGetAllDomainStatsFlags.ENFORCE_STATS
)
#: VIR_CONNECT_LIST_DOMAINS_FILTERS_ACTIVE, _PERSISTENT and _STATE; libvirt takes no others here.
FILTERS: Final = 0xFF
INT, UINT, ULLONG = TypedParameterType.INT, TypedParameterType.UINT, TypedParameterType.ULLONG

#: The groups of statistics with counters of resctrl.
MONITORED: Final = DomainStatsTypes.CPU_TOTAL | DomainStatsTypes.MEMORY

log = logging.getLogger(__name__)


class StatsCalls:
    """The call, and the workers' part of it."""

    def __init__(
        self, node: Node, registry: DomainRegistry, queries: QueryCalls, driver: Driver
    ) -> None:
        self._worker_stats = driver.worker_stats
        self._node = node
        self._registry = registry
        self._queries = queries

    async def connect_get_all_domain_stats(
        self, call: ClientCall, doms: list[DomainId], stats: int, flags: int
    ) -> list[DomainStatsRecord]:
        """Return the statistics of these domains, or of all that match the filters.

        A guest that does not answer in 0.8 s is described by what is known without it.

        Raises:
            VirError: ARGUMENT_UNSUPPORTED: ENFORCE_STATS with a group that is not implemented.
        """
        groups = stats or ALL_GROUPS
        enforced = flags & ConnectGetAllDomainStatsFlags.ENFORCE_STATS
        if enforced and stats & ~ALL_GROUPS:
            detail = f"Stats types bits {stats & ~ALL_GROUPS:#x} are not supported by this daemon"
            raise self._registry.errors.error(ErrorCode.ARGUMENT_UNSUPPORTED, detail)
        self._registry.errors.check_flags("ConnectGetAllDomainStats", flags, STEERING | FILTERS)
        domains = self._queries.filtered(flags & FILTERS)
        if doms:
            selected = {dom.uuid for dom in doms}
            domains = [domain for domain in domains if domain.uuid in selected]
        return list(await asyncio.gather(*(self._record(domain, groups) for domain in domains)))

    async def _record(self, domain: DomainObject, groups: int) -> DomainStatsRecord:
        identity = domain.identity
        params = list(local_stats(domain, groups, sampled=self._worker_stats))
        if not domain.is_active and groups & self._worker_stats & DomainStatsTypes.BLOCK:
            disks = domain.current.domain.devices.disks
            params += await asyncio.to_thread(lambda: list(image_stats(disks, domain.errors)))
        asked = groups & self._worker_stats
        if has_monitors(domain):
            asked |= groups & MONITORED
        if domain.is_active and asked:
            params += await self.worker_stats(domain, asked)
        return DomainStatsRecord(identity, params)

    async def worker_stats(self, domain: DomainObject, groups: int) -> list[TypedParam]:
        """Query the domain's worker for these groups; none when it does not reply."""
        link = self._node.link(domain.worker)
        try:
            sampled = await link.call(GetStats(groups=groups))
        except (BusError, VirError) as error:
            log.info("cannot get statistics of domain '%s': %s", domain.name, error)
            return []
        return [
            TypedParam(statistic.field, TypedValue(statistic.type, statistic.value))
            for statistic in sampled.statistics
        ]


def has_monitors(domain: DomainObject) -> bool:
    """Return whether the worker has counters of resctrl: <monitor> in <cachetune>, <memorytune>."""
    live = domain.live_definition
    return live is not None and "<monitor " in live.xml


def local_stats(domain: DomainObject, groups: int, *, sampled: int) -> Iterator[TypedParam]:
    """Yield the statistics that need no worker, which has those of the `sampled` groups."""
    definition = domain.current.domain
    if groups & DomainStatsTypes.STATE:
        state, reason = domain.state
        yield param("state.state", INT, state)
        yield param("state.reason", INT, reason)
    if groups & ~sampled & DomainStatsTypes.CPU_TOTAL:
        runtime = domain.runtime
        times = cpu_times(runtime.status.pid) if runtime is not None else CpuTimes(0, 0)
        yield param("cpu.time", ULLONG, times.total)
        yield param("cpu.user", ULLONG, times.user)
        yield param("cpu.system", ULLONG, times.system)
        if runtime is not None:
            if not has_monitors(domain):
                yield param("cpu.cache.monitor.count", UINT, 0)
            yield from _processor_stats(runtime.status.pid)
    if not domain.is_active and groups & DomainStatsTypes.BALLOON:
        current = definition.current_memory
        amount = current.amount if current is not None else definition.memory
        yield param("balloon.current", ULLONG, amount)
        yield param("balloon.maximum", ULLONG, definition.memory)
    if not domain.is_active and groups & DomainStatsTypes.VCPU:
        yield param("vcpu.current", UINT, definition.current_vcpus)
        yield param("vcpu.maximum", UINT, definition.maximum_vcpus)


def _processor_stats(pid: int) -> Iterator[TypedParam]:
    """Yield what the host's processors do for a guest."""
    success, fail = halt_poll_times(pid)
    yield param("cpu.haltpoll.success.time", ULLONG, success)
    yield param("cpu.haltpoll.fail.time", ULLONG, fail)


def image_stats(disks: Sequence[Disk], errors: ServiceErrors) -> Iterator[TypedParam]:
    """Yield the disks of a domain that is off, with the sizes of images that can be read."""
    yield param("block.count", UINT, len(disks))
    for index, disk in enumerate(disks):
        yield text_param(f"block.{index}.name", disk.target.dev)
        chain = disk.chain()
        path = (chain[0][0].file or chain[0][0].dev or "") if chain else ""
        if not path:
            continue
        yield text_param(f"block.{index}.path", path)
        try:
            allocation, capacity, physical = read_sizes(path, chain[0][1], errors)
        except VirError as error:
            log.info("no sizes of %s: %s", path, error)
            continue
        yield param(f"block.{index}.allocation", ULLONG, allocation)
        yield param(f"block.{index}.capacity", ULLONG, capacity)
        yield param(f"block.{index}.physical", ULLONG, physical)


def text_param(field: str, value: str) -> TypedParam:
    """Make a string parameter."""
    return TypedParam(field, TypedValue(TypedParameterType.STRING, value))


def param(field: str, kind: int, value: int) -> TypedParam:
    """Make a typed parameter."""
    return TypedParam(field, TypedValue(kind, value))
