"""Names of domains' states and of their reasons, as libvirt writes them to status files. Pure.

Owns: those names. Source: libvirt 9.0, virDomainState and the enums of its reasons.
"""

from __future__ import annotations

from typing import Final

from rpc.enums import DomainState

_ANY: Final = ("unknown",)
REASONS: Final[dict[DomainState, tuple[str, ...]]] = {
    DomainState.NOSTATE: _ANY,
    DomainState.RUNNING: (
        *("unknown", "booted", "migrated", "restored", "from snapshot", "unpaused"),
        *("migration canceled", "save canceled", "wakeup", "crashed"),
        *("post-copy", "post-copy failed"),
    ),
    DomainState.BLOCKED: _ANY,
    DomainState.PAUSED: (
        *("unknown", "user", "migration", "save", "dump", "ioerror", "watchdog"),
        *("from snapshot", "shutdown", "snapshot", "panicked", "starting up"),
        *("post-copy", "post-copy failed"),
    ),
    DomainState.SHUTDOWN: ("unknown", "user"),
    DomainState.SHUTOFF: (
        *("unknown", "shutdown", "destroyed", "crashed", "migrated", "saved", "failed"),
        *("from snapshot", "daemon"),
    ),
    DomainState.CRASHED: ("unknown", "panicked"),
    DomainState.PMSUSPENDED: _ANY,
}


def state_name(state: int) -> str:
    """Name a state."""
    return DomainState(state).name.lower()


def reason_name(state: int, reason: int) -> str:
    """Name the reason of a state; "unknown" for one that libvirt 9.0 does not have."""
    names = REASONS.get(DomainState(state), _ANY)
    return names[reason] if 0 <= reason < len(names) else "unknown"


def parse_state(state: str, reason: str) -> tuple[DomainState, int]:
    """Read a state and its reason.

    Raises:
        ValueError: there is no such state, or it has no such reason.
    """
    for known, names in REASONS.items():
        if known.name.lower() == state:
            return known, names.index(reason)
    raise ValueError(f"a domain has no state '{state}'")
