"""How netd's calls refuse flags, and what makes no sense now.

Owns: those refusals and their words. Pure.
"""

from __future__ import annotations

from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.service_errors import ServiceErrors

_NETWORKS: Final = ServiceErrors(ErrorDomain.NETWORK)
refuse_flags: Final = _NETWORKS.check_flags
invalid: Final = _NETWORKS.operation_invalid
system_error: Final = _NETWORKS.system_error


def needs_system_daemon(doing: str) -> VirError:
    """OPERATION_DENIED: a user's own daemon may not."""
    detail = (
        f"{doing} needs the system daemon: connect to qemu:///system, or use "
        "<interface type='user'> in qemu:///session"
    )
    return VirError(ErrorCode.OPERATION_DENIED, detail, ErrorDomain.NETWORK)
