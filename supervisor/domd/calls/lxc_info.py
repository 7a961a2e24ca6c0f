"""virDomainGetInfo of containers: CPU time and memory are those of its cgroup.

Owns: one method per procedure, named as in the table; these methods precede those of `query`.
May touch: the registry; workers, through `supervisor.domd.calls.stats`.
"""

from __future__ import annotations

from typing import Final

from rpc.enums import DomainStatsTypes
from rpc.values import Domain as DomainId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.domd.calls.stats import StatsCalls
from supervisor.domd.registry import DomainRegistry

GROUPS: Final = DomainStatsTypes.CPU_TOTAL | DomainStatsTypes.BALLOON


class LxcInfoCalls:
    """domain_get_info of containers."""

    def __init__(self, registry: DomainRegistry, stats: StatsCalls) -> None:
        self._registry = registry
        self._stats = stats

    async def domain_get_info(
        self, call: ClientCall, dom: DomainId
    ) -> tuple[int, int, int, int, int]:
        """Return state, maximum and used memory (KiB), vCPUs, CPU time (ns).

        Without a reply of the worker, the CPU time is 0 and the memory is that of the definition.
        """
        domain = self._registry.find(dom)
        definition = domain.current.domain
        memory = (
            definition.current_memory.amount if definition.current_memory else definition.memory
        )
        time = 0
        call.cacheable = not domain.is_active
        if domain.is_active:
            stats = {
                param.field: param.value.value
                for param in await self._stats.worker_stats(domain, GROUPS)
            }
            time = int(stats.get("cpu.time", 0))
            memory = int(stats.get("balloon.rss", memory))
        return domain.state[0], definition.memory, memory, definition.current_vcpus, time
