"""Flags that clients give: those that nobody knows are refused.

Owns: the refusal's words.
"""

from __future__ import annotations

from rpc.errors import ErrorCode, ErrorDomain, VirError


def refuse_flags(call: str, flags: int, known: int = 0) -> None:
    """Refuse flags that the call does not have.

    Raises:
        VirError: INVALID_ARG naming them.
    """
    if flags & ~int(known):
        raise invalid(f"unsupported flags ({flags & ~int(known):#x}) in function {call}")


def invalid(detail: str) -> VirError:
    """INVALID_ARG: an argument names what the container does not have."""
    return VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.LXC)
