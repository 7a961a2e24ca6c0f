"""How domd's calls refuse flags, and what makes no sense now.

Owns: those refusals and their words. Pure.
"""

from __future__ import annotations

from rpc.enums import DomainModificationImpact as Impact
from rpc.errors import ErrorCode, ErrorDomain, VirError


def refuse_flags(function: str, flags: int, known: int = 0) -> None:
    """Refuse flags that a call does not have.

    Args:
        function: what libvirt's QEMU driver calls it.
        flags: those that were given.
        known: those that there are.

    Raises:
        VirError: INVALID_ARG naming them.
    """
    if flags & ~int(known):
        detail = f"unsupported flags ({flags & ~int(known):#x}) in function {function}"
        raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.QEMU)


def refuse_both_impacts(flags: int) -> None:
    """Refuse to read both the live document and the definition.

    Raises:
        VirError: INVALID_ARG.
    """
    if flags & Impact.LIVE and flags & Impact.CONFIG:
        detail = (
            "Flags 'VIR_DOMAIN_AFFECT_LIVE' and 'VIR_DOMAIN_AFFECT_CONFIG' are mutually exclusive"
        )
        raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.DOMAIN)


def invalid(detail: str, domain: ErrorDomain = ErrorDomain.QEMU) -> VirError:
    """OPERATION_INVALID: not with the domain as it is now."""
    return VirError(ErrorCode.OPERATION_INVALID, detail, domain)
