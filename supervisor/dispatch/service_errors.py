"""The refusals that every service has, each in its own error domain.

Owns: their words. Pure.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from rpc.errors import ErrorCode, ErrorDomain, VirError


@dataclass(frozen=True, slots=True)
class ServiceErrors:
    """Those of one service."""

    domain: ErrorDomain

    def check_flags(self, function: str, flags: int, known: int = 0) -> None:
        """Refuse flags that a call does not have.

        Args:
            function: what libvirt's driver calls it.
            flags: those that were given.
            known: those that there are.

        Raises:
            VirError: INVALID_ARG naming them.
        """
        if flags & ~int(known):
            detail = f"unsupported flags ({flags & ~int(known):#x}) in function {function}"
            raise VirError(ErrorCode.INVALID_ARG, detail, self.domain)

    def operation_invalid(self, detail: str) -> VirError:
        """OPERATION_INVALID: not with the thing as it is now."""
        return VirError(ErrorCode.OPERATION_INVALID, detail, self.domain)

    def invalid_arg(self, detail: str) -> VirError:
        """INVALID_ARG: an argument that cannot be."""
        return VirError(ErrorCode.INVALID_ARG, detail, self.domain)

    def system_error(self, doing: str, problem: OSError) -> VirError:
        """SYSTEM_ERROR: the kernel or the disk refuses."""
        number = problem.errno
        why = problem.strerror or (os.strerror(number) if number else str(problem))
        return VirError(ErrorCode.SYSTEM_ERROR, f"{doing}: {why}", self.domain, int1=number or -1)
