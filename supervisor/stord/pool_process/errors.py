"""Maps OSError of storage operations to VirError. Pure."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from rpc.errors import ErrorCode, ErrorDomain, VirError

ADVICE = {
    errno.ENOSPC: "; free some space or use a smaller size",
    errno.EDQUOT: "; the disk quota of its file system is exhausted",
    errno.EROFS: "; remount its file system read-write",
    errno.ESTALE: "; the NFS server does not know the file handle any more: restart the pool",
}


@contextlib.contextmanager
def system_errors(action: str) -> Iterator[None]:
    """Raise SYSTEM_ERROR naming the action when the body raises OSError."""
    try:
        yield
    except OSError as error:
        raise system_error(action, error) from error


def system_error(action: str, error: OSError) -> VirError:
    """SYSTEM_ERROR: a system call failed; `int1` is the errno."""
    number = error.errno or 0
    detail = f"cannot {action}: {os.strerror(number)}{ADVICE.get(number, '')}"
    return VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.STORAGE, int1=number)
