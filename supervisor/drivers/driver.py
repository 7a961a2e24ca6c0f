"""What the registry of domains must know of the driver whose domains it keeps.

Owns: that description, one of each driver. Pure.

The registry is written once; a process of it runs for each driver (`domd` for QEMU's guests, `lxcd`
for containers).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from rpc.errors import ErrorDomain
from supervisor.dispatch.service_errors import ServiceErrors


@dataclass(frozen=True, kw_only=True)
class Driver:
    """One driver."""

    name: str  # of its folders, its workers' role, its clients' URIs and events
    service: str  # the process that keeps its domains
    error_domain: ErrorDomain
    create_flags: int
    create_xml_flags: int
    destroy_flags: int
    undefine_flags: int
    shutdown_flags: int
    reboot_flags: int
    renews_workers: bool  # one that has started a guest is replaced: reading documents makes it big
    resumes_first: bool  # clients hear of a start as RESUMED and then STARTED
    sampled: int  # groups of figures (virDomainStatsTypes) that only workers know

    def worker(self, domain: str) -> str:
        """What a domain's worker is called on the bus."""
        return f"{self.name}:{domain}"

    @cached_property
    def errors(self) -> ServiceErrors:
        """The driver's errors."""
        return ServiceErrors(self.error_domain, self.name)
