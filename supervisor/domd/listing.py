"""The filter flags of virConnectListAllDomains.

Owns: what each of them means. May touch: what domains have on disk, to look.
Source: libvirt 9.0 virConnectListAllDomains.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rpc.enums import ConnectListAllDomainsFlags as Flags
from rpc.enums import DomainState
from supervisor.domd.domain import DomainObject
from supervisor.domd.domain_files import DomainFiles
from supervisor.objects.listing import (
    ListFilter,
    either,
    has_autostart,
    is_active,
    is_persistent,
)

SIMPLE_STATES: Final = (DomainState.RUNNING, DomainState.PAUSED, DomainState.SHUTOFF)


def domain_filter(files: DomainFiles) -> ListFilter[DomainObject]:
    """Make the filter of a driver's domains."""
    return ListFilter(
        either(Flags.ACTIVE, Flags.INACTIVE, is_active),
        either(Flags.PERSISTENT, Flags.TRANSIENT, is_persistent),
        (
            (Flags.RUNNING, _in_state(DomainState.RUNNING)),
            (Flags.PAUSED, _in_state(DomainState.PAUSED)),
            (Flags.SHUTOFF, _in_state(DomainState.SHUTOFF)),
            (Flags.OTHER, lambda domain: domain.state[0] not in SIMPLE_STATES),
        ),
        either(Flags.MANAGEDSAVE, Flags.NO_MANAGEDSAVE, files.has_managed_save),
        either(Flags.AUTOSTART, Flags.NO_AUTOSTART, has_autostart),
        either(Flags.HAS_SNAPSHOT, Flags.NO_SNAPSHOT, files.has_snapshots),
        either(Flags.HAS_CHECKPOINT, Flags.NO_CHECKPOINT, files.has_checkpoints),
    )


def _in_state(state: DomainState) -> Callable[[DomainObject], bool]:
    return lambda domain: domain.state[0] == state
