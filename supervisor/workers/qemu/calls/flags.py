"""Flags that clients give: those that nobody knows are refused.

Owns: the refusal's words.
"""

from __future__ import annotations

from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.service_errors import ServiceErrors

_OURS: Final = ServiceErrors(ErrorDomain.QEMU)
refuse_flags: Final = _OURS.check_flags
invalid: Final = _OURS.invalid_arg


def unsupported(detail: str) -> VirError:
    """OPERATION_UNSUPPORTED: the guest's devices cannot do it."""
    return VirError(ErrorCode.OPERATION_UNSUPPORTED, detail, ErrorDomain.QEMU)
