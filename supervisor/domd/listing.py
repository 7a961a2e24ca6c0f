"""The filters of listing domains.

Owns: what each of them means. May touch: what domains have on disk, to look.
Source: libvirt 9.0 virConnectListAllDomains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from rpc.enums import ConnectListAllDomainsFlags as Flags
from rpc.enums import DomainState
from supervisor.domd.domain import DomainObject
from supervisor.domd.domain_files import DomainFiles

Check = Callable[[DomainObject, DomainFiles], bool]
SIMPLE: Final = (DomainState.RUNNING, DomainState.PAUSED, DomainState.SHUTOFF)


def _not(check: Check) -> Check:
    return lambda entry, has: not check(entry, has)


def _active(entry: DomainObject, _: DomainFiles) -> bool:
    return entry.is_active


def _persistent(entry: DomainObject, _: DomainFiles) -> bool:
    return entry.definition is not None


def _autostart(entry: DomainObject, _: DomainFiles) -> bool:
    return entry.autostart


def _state(state: DomainState) -> Check:
    return lambda entry, _: entry.state[0] == state


def _saved(entry: DomainObject, has: DomainFiles) -> bool:
    return has.has_managed_save(entry)


def _snapshots(entry: DomainObject, has: DomainFiles) -> bool:
    return has.has_snapshots(entry)


def _checkpoints(entry: DomainObject, has: DomainFiles) -> bool:
    return has.has_checkpoints(entry)


#: Groups of which any flag that is given may hold; a group with none given is no filter.
GROUPS: Final[tuple[tuple[tuple[Flags, Check], ...], ...]] = (
    ((Flags.ACTIVE, _active), (Flags.INACTIVE, _not(_active))),
    ((Flags.PERSISTENT, _persistent), (Flags.TRANSIENT, _not(_persistent))),
    (
        (Flags.RUNNING, _state(DomainState.RUNNING)),
        (Flags.PAUSED, _state(DomainState.PAUSED)),
        (Flags.SHUTOFF, _state(DomainState.SHUTOFF)),
        (Flags.OTHER, lambda entry, _: entry.state[0] not in SIMPLE),
    ),
    ((Flags.MANAGEDSAVE, _saved), (Flags.NO_MANAGEDSAVE, _not(_saved))),
    ((Flags.AUTOSTART, _autostart), (Flags.NO_AUTOSTART, _not(_autostart))),
    ((Flags.HAS_SNAPSHOT, _snapshots), (Flags.NO_SNAPSHOT, _not(_snapshots))),
    ((Flags.HAS_CHECKPOINT, _checkpoints), (Flags.NO_CHECKPOINT, _not(_checkpoints))),
)
EVERY_FILTER: Final = sum(flag for group in GROUPS for flag, _ in group)


def passing(
    entries: Iterable[DomainObject], flags: int, belongings: DomainFiles
) -> list[DomainObject]:
    """Those domains that pass the filters."""
    checks = [
        given
        for group in GROUPS
        if (given := [check for flag, check in group if flags & flag]) and len(given) < len(group)
    ]
    return [
        entry
        for entry in entries
        if all(any(check(entry, belongings) for check in group) for group in checks)
    ]
