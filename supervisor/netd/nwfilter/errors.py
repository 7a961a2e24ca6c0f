"""Errors of filters and bindings, with libvirt 9.0's codes.

Owns: the messages.
"""

from __future__ import annotations

from rpc.errors import ErrorCode, ErrorDomain, VirError


def no_filter(condition: str) -> VirError:
    """NO_NWFILTER: no filter has this name or UUID."""
    return VirError(ErrorCode.NO_NWFILTER, f"no nwfilter {condition}", ErrorDomain.NWFILTER)


def no_binding(tap: str) -> VirError:
    """NO_NWFILTER_BINDING: the tap has no binding."""
    detail = f"no nwfilter binding for port dev '{tap}'"
    return VirError(ErrorCode.NO_NWFILTER_BINDING, detail, ErrorDomain.NWFILTER)


def operation_failed(detail: str) -> VirError:
    """OPERATION_FAILED."""
    return VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.NWFILTER)


def in_use(name: str, tap: str) -> VirError:
    """OPERATION_INVALID: an interface uses the filter."""
    detail = (
        f"nwfilter is in use: '{name}' filters '{tap}'; change the filter of that interface first"
    )
    return VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.NWFILTER)


def system_error(failure: str, error: OSError) -> VirError:
    """SYSTEM_ERROR: a file cannot be written or removed."""
    detail = f"cannot {failure}: {error.strerror or error}"
    return VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.NWFILTER, int1=error.errno or -1)
