"""Refusing what needs a controller that a guest's cgroup does not have.

Owns: libvirt's words for that. Pure.
Source: libvirt 9.0, qemuDomainSetSchedulerParametersFlags and its kin.
"""

from __future__ import annotations

from typing import Final

from supervisor.dispatch.service_errors import ServiceErrors

#: The controllers that tuning calls need, and libvirt's words where the guest has none.
MISSING: Final = {
    "cpu": "cgroup CPU controller is not mounted",
    "memory": "cgroup memory controller is not mounted",
    "blkio": "blkio cgroup isn't mounted",
    "cpuset": "cgroup cpuset controller is not mounted",
}


def require_controller(controller: str, errors: ServiceErrors, *, present: bool) -> None:
    """Refuse a call that needs a controller.

    Raises:
        VirError: OPERATION_INVALID.
    """
    if not present:
        raise errors.operation_invalid(MISSING[controller])
