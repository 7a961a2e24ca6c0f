"""The kernel's refusals as the client's errors. Pure."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from rpc.errors import ErrorCode, ErrorDomain, VirError

ADVICE = {
    errno.ENOSPC: "; the file system is full: free some space or take a smaller size",
    errno.EDQUOT: "; the quota is used up",
    errno.EROFS: "; its file system is read-only",
    errno.ESTALE: "; its server has forgotten it: restart the pool",
}


@contextlib.contextmanager
def system_errors(action: str) -> Iterator[None]:
    """Make an `OSError` of the body a SYSTEM_ERROR that says what was being done."""
    try:
        yield
    except OSError as error:
        raise system_error(action, error) from error


def system_error(action: str, error: OSError) -> VirError:
    """SYSTEM_ERROR: the kernel refuses."""
    number = error.errno or 0
    detail = f"cannot {action}: {os.strerror(number)}{ADVICE.get(number, '')}"
    return VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.STORAGE, int1=number)
