"""Driver: what the daemon knows of one hypervisor driver, as data.

Owns: that description. Pure: it imports no service, and every service may read it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from rpc.errors import ErrorDomain
from supervisor.dispatch.service_errors import ServiceErrors

#: VIR_TYPED_PARAM_STRING_OKAY: the client's library reads string parameters; it sets it by itself.
TYPED_STRINGS: Final = 1 << 2


@dataclass(frozen=True, kw_only=True)
class Driver:
    """One hypervisor driver: a row of the driver table."""

    name: str  # URI scheme, worker role, and folder below etc/libvirt and run/libvirt
    title: str  # virConnectGetType, "QEMU"
    error_domain: ErrorDomain
    #: Paths of the URI in a system daemon; the first is the one that errors recommend.
    system_paths: tuple[str, ...]
    #: The same in a session daemon; none: it has no such driver.
    session_paths: tuple[str, ...] = ()
    #: Protocol features that virConnectSupportsFeature answers with 1.
    features: frozenset[int] = frozenset()

    # Processes.

    service: str  # runs the registry of the driver's domains
    service_entry: str = "supervisor.domd.main:run"
    #: Processes that answer for owners of the protocol table; other owners answer themselves.
    routes: Mapping[str, str] = field(default_factory=dict)
    worker_entry: str = ""  # of the process of each running domain; "": there is none

    # Domains.

    completion: str = ""  # the class that fills in a definition's defaults, "module:Class"
    #: Flags of the driver's functions where drivers differ or that the worker answers, by the
    #: function without its prefix.
    supported_flags: Mapping[str, int] = field(default_factory=dict)
    #: Checks of the arguments after the domain, by procedure: of calls that workers answer.
    argument_checks: Mapping[str, Callable[..., None]] = field(default_factory=dict)
    worker_stats: int = 0  # virDomainStatsTypes that only the domain's worker knows
    #: Typed parameters of virDomainGetSchedulerParameters.
    scheduler_parameters: tuple[str, ...] = ()
    has_balloon: bool = False  # a guest's memory is changed by its balloon, else by its cgroup
    #: A memory limit that is none stays in the XML: without it a container has that of its memory.
    keeps_unlimited_memory: bool = False
    #: The worker that started a domain is replaced by a fresh one: liblxc and parsing the XML leave
    #: it several MiB larger for the whole life of the container.
    replaces_worker_after_start: bool = False
    #: A start publishes RESUMED before STARTED; QEMU starts stopped (-S) and is continued then.
    publishes_resumed_on_start: bool = False

    @cached_property
    def errors(self) -> ServiceErrors:
        """The error factory: the driver's domain, and its name before libvirt's function names."""
        return ServiceErrors(self.error_domain, self.name)

    def check_flags(self, function: str, flags: int) -> None:
        """Refuse flags that the driver's function does not support.

        Args:
            function: libvirt's name without the prefix, a key of `supported_flags`.
            flags: the client's.

        Raises:
            VirError: INVALID_ARG naming the unsupported ones.
        """
        self.errors.check_flags(function, flags, self.supported_flags.get(function, 0))

    def worker(self, domain: str) -> str:
        """Return the name of a domain's worker on the bus."""
        return f"{self.name}:{domain}"

    def process(self, owner: str) -> str:
        """Return the process that answers the driver's clients for an owner of the table."""
        return self.routes.get(owner, owner)

    def uri_paths(self, *, session: bool) -> tuple[str, ...]:
        """Return the paths of the URI that a daemon serves; none: it has no such driver."""
        return self.session_paths if session else self.system_paths
