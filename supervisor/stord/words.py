"""How stord's calls refuse flags, and what makes no sense now.

Owns: those refusals and their words. Pure.
"""

from __future__ import annotations

import os

from rpc.errors import ErrorCode, ErrorDomain, VirError


def refuse_flags(function: str, flags: int, known: int = 0) -> None:
    """Refuse flags that a call does not have.

    Args:
        function: what libvirt's storage driver calls it.
        flags: those that were given.
        known: those that there are.

    Raises:
        VirError: INVALID_ARG naming them.
    """
    if flags & ~int(known):
        detail = f"unsupported flags ({flags & ~int(known):#x}) in function {function}"
        raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.STORAGE)


def refuse_both(flags: int, one: int, other: int) -> None:
    """Refuse two flags that contradict each other.

    Raises:
        VirError: INVALID_ARG.
    """
    if flags & one and flags & other:
        detail = f"flags {one:#x} and {other:#x} are mutually exclusive: give one of them"
        raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.STORAGE)


def invalid(detail: str) -> VirError:
    """OPERATION_INVALID: not with the pool or volume as it is now."""
    return VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.STORAGE)


def invalid_arg(detail: str) -> VirError:
    """INVALID_ARG: an argument that cannot be."""
    return VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.STORAGE)


def system_error(doing: str, problem: OSError) -> VirError:
    """SYSTEM_ERROR: the kernel or the disk refuses."""
    why = os.strerror(problem.errno) if problem.errno else str(problem)
    return VirError(
        ErrorCode.SYSTEM_ERROR, f"{doing}: {why}", ErrorDomain.STORAGE, int1=problem.errno or -1
    )


def needs_system_daemon(kind: str) -> VirError:
    """OPERATION_DENIED: a user's own daemon may not."""
    detail = (
        f"pools of type '{kind}' need the system daemon: connect to qemu:///system, or define a "
        "pool of type 'dir' in qemu:///session"
    )
    return VirError(ErrorCode.OPERATION_DENIED, detail, ErrorDomain.STORAGE)
