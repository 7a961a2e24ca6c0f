"""Replacing the limits of a running guest's group by others, all or none.

Owns: which values are written, in which order, and undoing a failed change.
May touch: the group's files.
"""

from __future__ import annotations

from rpc.errors import VirError
from supervisor.workers.cgroups.group import Group, Limit


def plan_change(before: list[Limit], after: list[Limit]) -> list[Limit]:
    """List the values to write: resets of removed throttles, then the new limits in order."""
    gone = [lift for limit in before if limit not in after and (lift := reset_of(limit, after))]
    return [*gone, *(limit for limit in after if limit not in before)]


def reset_of(limit: Limit, after: list[Limit]) -> Limit | None:
    """Return the value that resets a device's throttle; None if it is replaced or cannot be."""
    number, _, value = limit.value.partition(" ")
    key = value.partition("=")[0] if "=" in value else ""
    if any(new.file == limit.file and new.value.startswith(f"{number} {key}") for new in after):
        return None
    if limit.file.startswith("blkio.throttle."):
        return Limit(limit.controller, limit.file, f"{number} 0")
    if limit.file == "io.max":
        return Limit(limit.controller, limit.file, f"{number} {key}=max")
    return None


def write_limits(group: Group, limits: list[Limit], before: list[Limit]) -> None:
    """Write limits, a refused one again after the others.

    memory.limit_in_bytes may not exceed memory.memsw.limit_in_bytes at any moment, so their order
    depends on whether both grow or shrink.

    Raises:
        VirError: SYSTEM_ERROR; the former limits are set back.
    """
    pending = limits
    try:
        for last in (False, True):
            refused = []
            for limit in pending:
                try:
                    group.write(limit)
                except VirError:
                    if last:
                        raise
                    refused.append(limit)
            pending = refused
    except VirError:
        for limit in (*before, *reversed(before)):
            group.restore(limit)
        raise
