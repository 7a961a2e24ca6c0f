"""How stord's calls refuse flags, and what makes no sense now.

Owns: those refusals and their words. Pure.
"""

from __future__ import annotations

from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.service_errors import ServiceErrors

_STORAGE: Final = ServiceErrors(ErrorDomain.STORAGE)
refuse_flags: Final = _STORAGE.check_flags
invalid: Final = _STORAGE.operation_invalid
invalid_arg: Final = _STORAGE.invalid_arg
system_error: Final = _STORAGE.system_error


def refuse_both(flags: int, one: int, other: int) -> None:
    """Refuse two flags that contradict each other.

    Raises:
        VirError: INVALID_ARG.
    """
    if flags & one and flags & other:
        detail = f"flags {one:#x} and {other:#x} are mutually exclusive: give one of them"
        raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.STORAGE)


def needs_system_daemon(kind: str) -> VirError:
    """OPERATION_DENIED: a user's own daemon may not."""
    detail = (
        f"pools of type '{kind}' need the system daemon: connect to qemu:///system, or define a "
        "pool of type 'dir' in qemu:///session"
    )
    return VirError(ErrorCode.OPERATION_DENIED, detail, ErrorDomain.STORAGE)
