"""The processes of the tree: entry point, restart policy, privileges, denied system calls.

Owns: that table. A new service is one line here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from supervisor.drivers.driver import Driver
from supervisor.drivers.table import DRIVERS
from supervisor.root.confinement import Confinement
from supervisor.root.privileges import Privileges
from supervisor.runtime.restart_policy import Policy, RestartOn
from supervisor.runtime.syscalls import SyscallGroup

#: Far above what thousands of domains or clients need; a mistake ends one process, not the host.
REGISTRY_MEMORY: Final = 2 << 30
RPCD_MEMORY: Final = 1 << 30
#: System calls that no service needs, nor a program that one runs.
NEVER: Final = (
    SyscallGroup.TRACING,
    SyscallGroup.KERNEL,
    SyscallGroup.GUESTS,
    SyscallGroup.CLOCK,
    SyscallGroup.HOST,
    SyscallGroup.NAMESPACES,
    SyscallGroup.RINGS,
)
#: What only some services' programs need; QEMU's library of NUMA needs its calls.
FOREIGN: Final = (SyscallGroup.MOUNTS, SyscallGroup.KEYS)


@dataclass(frozen=True, slots=True)
class Role:
    """A kind of process."""

    name: str  # on the bus; a worker's gets ":DOMAIN" after it
    entry: str
    policy: Policy
    privileges: Privileges
    owner: str = ""  # a worker's: the one service that may spawn and end it
    #: Bytes that it may write to (RLIMIT_DATA); 0: no limit, for its programs would inherit it.
    memory: int = 0
    denied: tuple[SyscallGroup, ...] = ()  # to it and to the programs that it runs
    listed: bool = False  # it runs no program, and makes the calls of `allowed_syscalls` alone
    network: bool = True  # False: it has the sockets that it is given, and reaches no host
    silence_s: float = 10.0  # it is taken for hung, and killed, after so long without an answer
    outlives: bool = False  # it goes on without the root until its work is done, and is not awaited

    @property
    def confinement(self) -> Confinement:
        """What it is confined to after its fork."""
        return Confinement(
            privileges=self.privileges,
            denied=self.denied,
            listed=self.listed,
            network=self.network,
        )


def registry_role(driver: Driver) -> Role:
    """Make the role of the process that registers a driver's domains."""
    policy = Policy(RestartOn.ALWAYS)
    return Role(
        driver.service,
        driver.service_entry,
        policy,
        Privileges.FILES,
        memory=REGISTRY_MEMORY,
        denied=(*NEVER, *FOREIGN),
    )


def worker_role(driver: Driver) -> Role:
    """Make the role of the processes of a driver's running domains."""
    policy = Policy(RestartOn.ON_CRASH)
    return Role(driver.name, driver.worker_entry, policy, Privileges.LAUNCH, owner=driver.service)


def service_roles(drivers: Iterable[Driver]) -> tuple[Role, ...]:
    """Make the roles of a daemon's services."""
    return (*(registry_role(driver) for driver in drivers), *SHARED_SERVICES)


SHARED_SERVICES: Final = (
    Role(
        "hostd",
        "supervisor.hostd.main:run",
        Policy(RestartOn.ALWAYS),
        Privileges.FILES,
        denied=(*NEVER, *FOREIGN),
    ),
    Role(
        "netd",
        "supervisor.netd.main:run",
        Policy(RestartOn.ALWAYS),
        Privileges.NETWORK,
        denied=(*NEVER, *FOREIGN),
    ),
    # Its programs mount, and ask the kernel's keyrings for a share's password.
    Role(
        "stord",
        "supervisor.stord.main:run",
        Policy(RestartOn.ALWAYS),
        Privileges.STORAGE,
        denied=NEVER,
    ),
    Role(
        "rpcd",
        "supervisor.rpcd.main:run",
        Policy(RestartOn.ALWAYS),
        Privileges.NONE,
        memory=RPCD_MEMORY,
        listed=True,
        network=False,
    ),
)
#: Runs where a socket demands authentication.
AUTHD: Final = Role(
    "authd",
    "supervisor.authd.main:run",
    Policy(RestartOn.ALWAYS),
    Privileges.FILES,
    # Kerberos may have its tickets in the kernel's keyrings.
    denied=(*NEVER, SyscallGroup.MOUNTS, SyscallGroup.PROGRAMS, SyscallGroup.NUMA),
)
#: Forked when a process first asks for it, or at the start if guests of an earlier daemon need it.
LOGD: Final = Role(
    "logd",
    "supervisor.logd.main:run",
    Policy(RestartOn.ALWAYS),
    Privileges.FILES,
    outlives=True,
    denied=(
        *NEVER,
        *FOREIGN,
        SyscallGroup.PROGRAMS,
        SyscallGroup.INET,
        SyscallGroup.PEERS,
        SyscallGroup.NUMA,
    ),
    network=False,
)
SERVICES: Final = service_roles(DRIVERS)
SESSION_SERVICES: Final = service_roles(DRIVERS.of_daemon(session=True))
WORKERS: Final = {driver.name: worker_role(driver) for driver in DRIVERS if driver.worker_entry}
#: What the zygote loads, each once for all children.
PRELOAD: Final = tuple(
    role.entry.partition(":")[0] for role in (*SERVICES, *WORKERS.values(), LOGD)
)
