"""Errors of filters and bindings, with libvirt 9.0's codes.

Owns: the messages.
"""

from __future__ import annotations

from rpc.errors import ErrorCode, VirError
from supervisor.dispatch.service_errors import NWFILTER_ERRORS


def no_binding(tap: str) -> VirError:
    """NO_NWFILTER_BINDING: the tap has no binding."""
    detail = f"no nwfilter binding for port dev '{tap}'"
    return NWFILTER_ERRORS.error(ErrorCode.NO_NWFILTER_BINDING, detail)


def operation_failed(detail: str) -> VirError:
    """OPERATION_FAILED."""
    return NWFILTER_ERRORS.operation_failed(detail)


def in_use(name: str, tap: str) -> VirError:
    """OPERATION_INVALID: an interface uses the filter."""
    detail = (
        f"nwfilter is in use: '{name}' filters '{tap}'; change the filter of that interface first"
    )
    return NWFILTER_ERRORS.operation_invalid(detail)


def system_error(failure: str, error: OSError) -> VirError:
    """SYSTEM_ERROR: a file cannot be written or removed."""
    return NWFILTER_ERRORS.system_error(f"cannot {failure}", error)
