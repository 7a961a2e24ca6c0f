"""How domd's calls refuse flags.

Owns: those refusals and their words. Pure.
"""

from __future__ import annotations

from rpc.errors import ErrorCode, ErrorDomain, VirError


def refuse_flags(function: str, flags: int, known: int = 0) -> None:
    """Refuse flags that a call does not have.

    Raises:
        VirError: INVALID_ARG naming them.
    """
    if flags & ~known:
        detail = f"unsupported flags ({flags & ~known:#x}) in function {function}"
        raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.QEMU)


def refuse_both(flags: int, one: int, other: int) -> None:
    """Refuse two flags that exclude each other.

    Raises:
        VirError: INVALID_ARG.
    """
    if flags & one and flags & other:
        detail = f"flags {one:#x} and {other:#x} exclude each other"
        raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.QEMU)
