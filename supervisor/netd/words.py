"""How netd's calls refuse flags, and what makes no sense now.

Owns: those refusals and their words. Pure.
"""

from __future__ import annotations

from rpc.errors import ErrorCode, ErrorDomain, VirError


def refuse_flags(function: str, flags: int, known: int = 0) -> None:
    """Refuse flags that a call does not have.

    Args:
        function: what libvirt's network driver calls it.
        flags: those that were given.
        known: those that there are.

    Raises:
        VirError: INVALID_ARG naming them.
    """
    if flags & ~int(known):
        detail = f"unsupported flags ({flags & ~int(known):#x}) in function {function}"
        raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.NETWORK)


def invalid(detail: str) -> VirError:
    """OPERATION_INVALID: not with the network as it is now."""
    return VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.NETWORK)


def system_error(doing: str, problem: OSError) -> VirError:
    """SYSTEM_ERROR: the kernel or the disk refuses."""
    why = problem.strerror or str(problem)
    return VirError(
        ErrorCode.SYSTEM_ERROR, f"{doing}: {why}", ErrorDomain.NETWORK, int1=problem.errno or -1
    )


def needs_system_daemon(doing: str) -> VirError:
    """OPERATION_DENIED: a user's own daemon may not."""
    detail = (
        f"{doing} needs the system daemon: connect to qemu:///system, or use "
        "<interface type='user'> in qemu:///session"
    )
    return VirError(ErrorCode.OPERATION_DENIED, detail, ErrorDomain.NETWORK)
