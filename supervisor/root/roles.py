"""Every process of the tree: what it runs, when it is restarted, what it may do.

Owns: that table. A new service is one line here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from supervisor.root.privileges import Privileges
from supervisor.runtime.restart_policy import Policy, RestartOn


@dataclass(frozen=True, slots=True)
class Role:
    """A kind of process."""

    name: str  # on the bus; a worker's gets ":DOMAIN" after it
    entry: str
    policy: Policy
    privileges: Privileges
    owner: str = ""  # a worker's: the one service that may spawn and end it


SERVICES: Final = (
    Role("domd", "supervisor.domd.main:run", Policy(RestartOn.ALWAYS), Privileges.FILES),
    Role("lxcd", "supervisor.domd.main:run_containers", Policy(RestartOn.ALWAYS), Privileges.FILES),
    Role("hostd", "supervisor.hostd.main:run", Policy(RestartOn.ALWAYS), Privileges.FILES),
    Role("netd", "supervisor.netd.main:serve", Policy(RestartOn.ALWAYS), Privileges.NETWORK),
    Role("stord", "supervisor.stord.main:run", Policy(RestartOn.ALWAYS), Privileges.STORAGE),
    Role("rpcd", "supervisor.rpcd.main:serve", Policy(RestartOn.ALWAYS), Privileges.NONE),
)
#: A user's daemon has no containers: they take root's rights.
SESSION_SERVICES: Final = tuple(role for role in SERVICES if role.name != "lxcd")
WORKERS: Final = {
    "qemu": Role(
        "qemu",
        "supervisor.workers.qemu.main:serve",
        Policy(RestartOn.ON_CRASH),
        Privileges.LAUNCH,
        owner="domd",
    ),
    "lxc": Role(
        "lxc",
        "supervisor.workers.lxc.main:serve",
        Policy(RestartOn.ON_CRASH),
        Privileges.LAUNCH,
        owner="lxcd",
    ),
}
#: What the zygote loads, each once for all children.
PRELOAD: Final = tuple(role.entry.partition(":")[0] for role in (*SERVICES, *WORKERS.values()))
