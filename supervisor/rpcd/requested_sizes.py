"""Sizes of the answer that a client asks for: refused before a service allocates them.

Owns: these checks, from the limits in the protocol table; a call without such an argument has none.
Pure: an argument is compared, never changed.
Source: libvirt 9.0's dispatcher (remote_daemon_dispatch.c), asked over the wire.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.table import Procedure

#: Arguments that limit a list of names, ids or cells.
LIST_ARGUMENTS: Final = frozenset({"maxids", "maxnames", "maxuuids", "maxcells"})
#: Arguments that limit parameters or records.
PARAMETER_ARGUMENTS: Final = frozenset({"nparams", "maxerrors"})
#: Calls whose number is not looked at: libvirt's client sends whatever is in its memory.
UNCHECKED: Final = frozenset({"node_get_sev_info"})
#: Arguments that count cpumaps.
CPUMAP_COUNTS: Final = ("maxinfo", "ncpumaps")
CPUMAP_LENGTH: Final = "maplen"
MAX_VCPUS: Final = 16384  # REMOTE_VCPUINFO_MAX
PEEKED: Final = "size"  # of domain_block_peek and domain_memory_peek

Check = Callable[[tuple[object, ...]], None]


@cache
def checks_of(procedure: Procedure) -> tuple[Check, ...]:
    """Return the checks of a procedure's arguments; most have none.

    A check takes all arguments, and refuses a size that is negative or beyond the limit of the
    procedure's answer with VirError: RPC for a list, INTERNAL_ERROR for parameters and cpumaps, as
    libvirt does.
    """
    places = {field.name: place for place, field in enumerate(procedure.args)}
    limits = [field.type.limit for field in procedure.ret if field.type.limit is not None]
    if not limits or procedure.name in UNCHECKED:
        return ()
    checks: list[Check] = []
    for name, place in places.items():
        if name in LIST_ARGUMENTS:
            beyond = f"> REMOTE_{procedure.ret[0].type.limit_name.upper()}"
            checks.append(_limit_check(name, place, limits[0], ErrorCode.RPC, beyond))
        elif name in PARAMETER_ARGUMENTS:
            code = ErrorCode.INTERNAL_ERROR
            checks.append(_limit_check(name, place, limits[0], code, "too large"))
        elif name == PEEKED and procedure.ret[0].type.base == "opaque":
            checks.append(_peek_check(place, limits[0]))
    if CPUMAP_LENGTH in places:
        count = next((name for name in CPUMAP_COUNTS if name in places), None)
        checks.append(_cpumap_check(count, places, limits[-1]))
    return tuple(checks)


def _limit_check(name: str, place: int, limit: int, code: ErrorCode, beyond: str) -> Check:
    """Make the check of a count: neither negative nor, with the text `beyond`, above a limit."""

    def check(arguments: tuple[object, ...]) -> None:
        number = _number(arguments[place])
        if number < 0:
            raise _refused(code, f"{name} must be non-negative")
        if number > limit:
            raise _refused(code, f"{name} {beyond}")

    return check


def _peek_check(place: int, limit: int) -> Check:
    def check(arguments: tuple[object, ...]) -> None:
        if _number(arguments[place]) > limit:
            raise _refused(ErrorCode.INTERNAL_ERROR, "size > maximum buffer size")

    return check


def _cpumap_check(count_name: str | None, places: dict[str, int], limit: int) -> Check:
    def check(arguments: tuple[object, ...]) -> None:
        length = _number(arguments[places[CPUMAP_LENGTH]])
        count = _number(arguments[places[count_name]]) if count_name else 1
        if count < 0 or length < 0:
            detail = f"{count_name or CPUMAP_LENGTH} must be non-negative"
            raise _refused(ErrorCode.INTERNAL_ERROR, detail)
        if count > MAX_VCPUS:
            raise _refused(ErrorCode.INTERNAL_ERROR, f"{count_name} > REMOTE_VCPUINFO_MAX")
        if count * length > limit:
            detail = "maxinfo * maplen > REMOTE_CPUMAPS_MAX"
            raise _refused(ErrorCode.INTERNAL_ERROR, detail)

    return check


def _number(argument: object) -> int:
    assert isinstance(argument, int), "the table says that it is an integer"
    return argument


def _refused(code: ErrorCode, detail: str) -> VirError:
    return VirError(code, detail, ErrorDomain.RPC)
