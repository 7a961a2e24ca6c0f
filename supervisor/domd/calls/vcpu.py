"""virDomain queries about processors: how many a domain has, and on which of the host's they run.

Owns: one method per procedure, named as in the table.
May touch: the registry; a guest's agent, through its worker.
Source: libvirt 9.0, qemuDomainGetVcpusFlags, virDomainDefGetVcpuPinInfoHelper.
"""

from __future__ import annotations

import os
from typing import Final

from conf.domain import Domain
from conf.domain.tuning import Cputune
from rpc.enums import DomainVcpuFlags
from rpc.values import Domain as DomainId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.domd.calls.query import cpumap
from supervisor.domd.registry import DomainRegistry
from supervisor.domd.workers import Workers
from supervisor.messages.worker import CountAgentVcpus
from supervisor.objects.impact import IMPACT_FLAGS, select_for_query

VCPU_FLAGS: Final = (
    DomainVcpuFlags.LIVE | DomainVcpuFlags.CONFIG | DomainVcpuFlags.MAXIMUM | DomainVcpuFlags.GUEST
)


class VcpuCalls:
    """The queries of one driver."""

    def __init__(self, registry: DomainRegistry, workers: Workers) -> None:
        self._registry = registry
        self._errors = registry.errors
        self._workers = workers

    async def domain_get_vcpus_flags(self, call: ClientCall, dom: DomainId, flags: int) -> int:
        """Return the number of vCPUs: current or maximum, live, in the definition or in the guest.

        Raises:
            VirError: OPERATION_INVALID for the live number of a domain that is off; INVALID_ARG
                for the guest's own view of one; the agent's errors.
        """
        self._errors.check_flags("DomainGetVcpusFlags", flags, VCPU_FLAGS)
        domain = self._registry.find(dom)
        definition = select_for_query(domain, flags & IMPACT_FLAGS).domain
        maximum = bool(flags & DomainVcpuFlags.MAXIMUM)
        if flags & DomainVcpuFlags.GUEST:
            if not domain.is_active:
                detail = (
                    "vCPU count provided by the guest agent can only be requested for live domains"
                )
                raise self._errors.invalid_arg(detail)
            vcpus = await self._workers.call_running(domain, CountAgentVcpus())
            return vcpus.maximum if maximum else vcpus.online
        call.cacheable = True
        return definition.maximum_vcpus if maximum else definition.current_vcpus

    def domain_get_vcpu_pin_info(
        self, call: ClientCall, dom: DomainId, ncpumaps: int, maplen: int, flags: int
    ) -> tuple[bytes, int]:
        """Return on which of the host's CPUs each vCPU may run, as cpumaps of `maplen` bytes.

        Raises:
            VirError: INVALID_ARG, OPERATION_INVALID: as `select_for_query`.
        """
        self._errors.check_flags("DomainGetVcpuPinInfo", flags, IMPACT_FLAGS)
        self._check_positive(ncpumaps=ncpumaps, maplen=maplen)
        domain = select_for_query(self._registry.find(dom), flags).domain
        pins = {pin.vcpu: pin.cpuset for pin in (domain.cputune or Cputune()).vcpupins}
        count = min(ncpumaps, domain.maximum_vcpus)
        maps = (pin_map(pins.get(number), domain, maplen) for number in range(count))
        return b"".join(maps), count

    def domain_get_emulator_pin_info(
        self, call: ClientCall, dom: DomainId, maplen: int, flags: int
    ) -> tuple[bytes, int]:
        """Return on which of the host's CPUs the emulator's own threads may run.

        Raises:
            VirError: INVALID_ARG, OPERATION_INVALID: as `select_for_query`.
        """
        self._errors.check_flags("DomainGetEmulatorPinInfo", flags, IMPACT_FLAGS)
        self._check_positive(maplen=maplen)
        domain = select_for_query(self._registry.find(dom), flags).domain
        return pin_map((domain.cputune or Cputune()).emulatorpin, domain, maplen), 1

    def _check_positive(self, **numbers: int) -> None:
        for name, number in numbers.items():
            if number <= 0:
                raise self._errors.invalid_arg(f"{name} must be greater than zero")


def pin_map(cpuset: str | None, domain: Domain, length: int) -> bytes:
    """Return a pin as a cpumap of `length` bytes; without one, <vcpu cpuset> or every CPU."""
    default = domain.vcpu.cpuset if domain.vcpu is not None else None
    cpus = cpumap(cpuset or default, os.cpu_count() or 1)
    return cpus[:length].ljust(length, b"\0")
