"""Access control of a service, as libvirtd.conf asks for it.

Owns: making the drivers that `access_drivers` names. May touch: the process's bus.
May not touch: calls.
"""

from __future__ import annotations

from supervisor.access.control import AccessControl, AccessDriver, PolkitAccess, RolesAccess
from supervisor.access.guard import CallGuard
from supervisor.runtime.child import ChildProcess

NONE = "none"  # libvirt's driver that allows everything


def open_access(process: ChildProcess) -> AccessControl | None:
    """Make the drivers; None: every client may call everything, and nothing is checked."""
    names = [name for name in dict.fromkeys(process.config.access_drivers) if name != NONE]
    if not names:
        return None
    # Another name has stopped the daemon's start (`conf.settings_support`).
    drivers: dict[str, AccessDriver] = {
        "polkit": PolkitAccess(process.node),
        "roles": RolesAccess(lambda: process.roles),
    }
    return AccessControl([drivers[name] for name in names], session=process.session)


def open_guard(process: ChildProcess) -> CallGuard | None:
    """Make what checks the calls of a service, and have it answer rpcd and the root."""
    control = open_access(process)
    if control is None:
        return None
    guard = CallGuard(control)
    process.node.serve(guard)
    process.node.serve(guard.explainer())
    return guard
