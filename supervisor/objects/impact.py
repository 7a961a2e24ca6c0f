"""Modification impact: whether a call concerns the live object, its definition, or both.

Owns: that selection (libvirt's virDomainObjUpdateModificationImpact). Pure.
Source: libvirt 9.0, virDomainModificationImpact; virNetworkUpdateFlags has the same values.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeVar

from rpc.enums import DomainModificationImpact
from supervisor.objects.object import LibvirtObject

#: VIR_DOMAIN_AFFECT_CURRENT is 0: neither flag.
LIVE: Final = int(DomainModificationImpact.LIVE)  # plain: `&` of a flag makes another flag
CONFIG: Final = int(DomainModificationImpact.CONFIG)
IMPACT_FLAGS: Final = LIVE | CONFIG

D = TypeVar("D")


class Impact(NamedTuple):
    """Which of the two a change concerns."""

    live: bool
    config: bool


def select_impact(obj: LibvirtObject[Any, Any], flags: int) -> Impact:
    """Select what a change concerns; no flag means the live object if there is one.

    Args:
        obj: to be changed.
        flags: VIR_DOMAIN_AFFECT_LIVE, VIR_DOMAIN_AFFECT_CONFIG; others are not looked at.

    Raises:
        VirError: OPERATION_INVALID: live for an inactive object, config for a transient one.
    """
    live, config = bool(flags & LIVE), bool(flags & CONFIG)
    if not live and not config:
        live, config = obj.is_active, not obj.is_active
    if live and not obj.is_active:
        raise obj.object_type.not_active(obj.name)
    if config and not obj.is_persistent:
        raise obj.object_type.not_persistent(obj.name)
    return Impact(live, config)


def select_for_change(obj: LibvirtObject[D, Any], flags: int) -> tuple[D | None, D | None]:
    """Select the live definition, the persistent one, or both, to be changed.

    Raises:
        VirError: OPERATION_INVALID as `select_impact`.
    """
    impact = select_impact(obj, flags)
    return (
        obj.live_definition if impact.live else None,
        obj.definition if impact.config else None,
    )


def select_for_query(obj: LibvirtObject[D, Any], flags: int) -> D:
    """Select the definition that a query reads; no flag means the current one.

    Raises:
        VirError: OPERATION_INVALID: live for an inactive object, config for a transient one.
    """
    if flags & CONFIG:
        if obj.definition is None:
            raise obj.object_type.not_persistent(obj.name)
        return obj.definition
    if flags & LIVE and not obj.is_active:
        raise obj.object_type.not_active(obj.name)
    return obj.current
