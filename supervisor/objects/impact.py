"""Modification impact: whether a call concerns the live object, its definition, or both.

Owns: that selection (libvirt's virDomainObjUpdateModificationImpact). Pure.
Source: libvirt 9.0, virDomainModificationImpact; virNetworkUpdateFlags has the same rules.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

from rpc.enums import DomainModificationImpact
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.objects.object_type import ObjectType

#: VIR_DOMAIN_AFFECT_CURRENT is 0: neither flag.
IMPACT_FLAGS: Final = int(DomainModificationImpact.LIVE | DomainModificationImpact.CONFIG)


class ChangeableObject(Protocol):
    """What the selection needs of an object."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def object_type(self) -> ObjectType:
        """Its type, for the errors."""

    @property
    def is_active(self) -> bool:
        """Whether there is a live object."""

    @property
    def is_persistent(self) -> bool:
        """Whether there is a definition."""


class Impact(NamedTuple):
    """Which of the two a call concerns."""

    live: bool
    config: bool


def select_impact(entry: ChangeableObject, flags: int) -> Impact:
    """Select what a change concerns; no flag means the live object if there is one.

    Args:
        entry: to be changed.
        flags: VIR_DOMAIN_AFFECT_LIVE, VIR_DOMAIN_AFFECT_CONFIG; others are not looked at.

    Raises:
        VirError: OPERATION_INVALID: live for an inactive object, config for a transient one.
    """
    live = bool(flags & DomainModificationImpact.LIVE)
    config = bool(flags & DomainModificationImpact.CONFIG)
    if not live and not config:
        live, config = entry.is_active, not entry.is_active
    if live and not entry.is_active:
        raise entry.object_type.not_active(entry.name)
    if config and not entry.is_persistent:
        raise entry.object_type.not_persistent(entry.name)
    return Impact(live, config)


def check_single_impact(flags: int) -> None:
    """Refuse to read the live object and the definition in one call.

    Raises:
        VirError: INVALID_ARG.
    """
    if flags & IMPACT_FLAGS == IMPACT_FLAGS:
        detail = (
            "Flags 'VIR_DOMAIN_AFFECT_LIVE' and 'VIR_DOMAIN_AFFECT_CONFIG' are mutually exclusive"
        )
        raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.DOMAIN)
