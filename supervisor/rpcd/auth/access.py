"""Access checks: what a client may call at this moment. Pure.

Owns: the refusals and their messages (protocol/features_9_0.md, readonly.json).
May not touch: sockets, the bus.
"""

from __future__ import annotations

from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.table import Procedure

#: libvirt's refusal says "connection" for these drivers' calls, else "hypervisor connection".
OTHER_DRIVERS: Final = ("interface", "network", "node_device", "nwfilter", "secret", "storage")


def check_authenticated(procedure: Procedure, *, authenticated: bool) -> None:
    """Refuse a call that needs an authenticated client.

    Raises:
        VirError: RPC "authentication required".
    """
    if not authenticated and not procedure.before_auth:
        raise VirError(ErrorCode.RPC, "authentication required", ErrorDomain.RPC)


def check_open(procedure: Procedure, arguments: tuple[object, ...], *, opened: bool) -> None:
    """Refuse a call that needs CONNECT_OPEN first.

    Raises:
        VirError: INTERNAL_ERROR.
    """
    if opened or procedure.before_open:
        return
    allowed = procedure.before_open_values
    for field, value in zip(procedure.args, arguments, strict=True):
        if value in allowed.get(field.name, ()):
            return
    other = any(driver in procedure.name for driver in OTHER_DRIVERS)
    detail = "connection not open" if other else "hypervisor connection not open"
    raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.RPC)


def check_read_only(procedure: Procedure, arguments: tuple[object, ...]) -> None:
    """Refuse what a read-only client may not call, or not with these flags.

    Raises:
        VirError: OPERATION_DENIED naming the function.
    """
    if not procedure.read_only:
        raise denied(procedure, f"read only access prevents {procedure.api}")
    for field, value in zip(procedure.args, arguments, strict=True):
        if not isinstance(value, int):
            continue
        if field.name == "flags" and value & procedure.ro_denied_flags:
            raise denied(procedure, f"{procedure.api} with secure flag")
        if value in procedure.ro_denied_values.get(field.name, ()):
            raise denied(procedure, f"read only access prevents {procedure.api}")


def denied(procedure: Procedure, detail: str) -> VirError:
    """OPERATION_DENIED from the part of the API that the call belongs to."""
    return VirError(ErrorCode.OPERATION_DENIED, detail, ErrorDomain(procedure.error_domain))


def check_supported(procedure: Procedure, driver: str) -> None:
    """Refuse what no service answers, or not for this driver ("": none is open yet).

    Raises:
        VirError: NO_SUPPORT naming the function.
    """
    if procedure.owner is not None and (not driver or procedure.serves(driver)):
        return
    detail = procedure.api or procedure.name
    raise VirError(ErrorCode.NO_SUPPORT, detail, ErrorDomain(procedure.error_domain))
