"""Modification impact: whether a call concerns the live object, its definition, or both.

Owns: that selection (libvirt's virDomainObjUpdateModificationImpact). Pure.
Source: libvirt 9.0, virDomainModificationImpact; virNetworkUpdateFlags has the same values.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeVar

from rpc.enums import DomainModificationImpact
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.objects.object import LibvirtObject

#: VIR_DOMAIN_AFFECT_CURRENT is 0: neither flag.
IMPACT_FLAGS: Final = int(DomainModificationImpact.LIVE | DomainModificationImpact.CONFIG)

D = TypeVar("D")


class Impact(NamedTuple):
    """Which of the two a change concerns."""

    live: bool
    config: bool


def select_impact(entry: LibvirtObject[Any, Any], flags: int) -> Impact:
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


def select_for_change(entry: LibvirtObject[D, Any], flags: int) -> tuple[D | None, D | None]:
    """Select the live definition, the persistent one, or both, to be changed.

    Raises:
        VirError: OPERATION_INVALID as `select_impact`.
    """
    impact = select_impact(entry, flags)
    return (
        entry.live_definition if impact.live else None,
        entry.definition if impact.config else None,
    )


def select_for_query(entry: LibvirtObject[D, Any], flags: int) -> D:
    """Select the definition that a query reads; no flag means the current one.

    Raises:
        VirError: OPERATION_INVALID: live for an inactive object, config for a transient one.
    """
    if flags & DomainModificationImpact.CONFIG:
        if entry.definition is None:
            raise entry.object_type.not_persistent(entry.name)
        return entry.definition
    if flags & DomainModificationImpact.LIVE and not entry.is_active:
        raise entry.object_type.not_active(entry.name)
    return entry.current


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
