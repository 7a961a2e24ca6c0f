"""Which of a domain's two configurations a call means: the running guest's or the definition.

Owns: the meaning of virDomainModificationImpact. Pure.
"""

from __future__ import annotations

from typing import Final

from rpc.enums import DomainModificationImpact as Impact
from rpc.errors import VirError
from supervisor.domd.domain import Definition, DomainObject
from supervisor.domd.registry import not_running

IMPACT: Final = Impact.LIVE | Impact.CONFIG


def select_for_change(
    entry: DomainObject, flags: int
) -> tuple[Definition | None, Definition | None]:
    """Select the running guest's configuration, the definition, or both, to be changed.

    Raises:
        VirError: OPERATION_INVALID: the domain is off, or transient.
    """
    if not flags & IMPACT:
        flags = Impact.LIVE if entry.is_active else Impact.CONFIG
    if flags & Impact.LIVE and entry.runtime is None:
        raise not_running(entry)
    if flags & Impact.CONFIG and entry.definition is None:
        raise not_persistent(entry)
    live = entry.runtime.live if flags & Impact.LIVE and entry.runtime is not None else None
    return live, entry.definition if flags & Impact.CONFIG else None


def select_for_query(entry: DomainObject, flags: int) -> Definition:
    """Select the configuration that a query reads; neither flag means the current one.

    Raises:
        VirError: OPERATION_INVALID: the domain is off, or transient.
    """
    if flags & Impact.CONFIG:
        if entry.definition is None:
            raise not_persistent(entry)
        return entry.definition
    if flags & Impact.LIVE and entry.runtime is None:
        raise not_running(entry)
    return entry.current


def not_persistent(entry: DomainObject) -> VirError:
    """OPERATION_INVALID: the domain is transient."""
    return entry.object_type.not_persistent(entry.name)
