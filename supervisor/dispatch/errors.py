"""Error codec: errors between processes, and the VirError that a client gets for any error.

Owns: `VirError` over the bus; how `ConfError`, time-outs and lost processes map to libvirt's codes.
May touch: the log. May not touch: the bus, client sockets.
"""

from __future__ import annotations

import logging
from typing import Final

from conf.errors import ConfError
from ipc import BusError, DeadlineExceeded, HandlerFailed
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.xdr import ResultTooLarge

#: `ConfError` kinds whose libvirt code is not the kind in upper case.
CONF_CODES: Final = {"xml": "XML_ERROR", "internal": "INTERNAL_ERROR", "xml_detail": "XML_DETAIL"}

log = logging.getLogger(__name__)


class VirErrorCodec:
    """`VirError` over the bus."""

    def encode(self, error: Exception) -> bytes | None:
        """Encode a `VirError`; None for any other exception."""
        return error.encode() if isinstance(error, VirError) else None

    def decode(self, data: bytes) -> Exception:
        """Decode a `VirError`."""
        return VirError.decode(data)


def to_vir_error(procedure: str, error: Exception) -> VirError:
    """Convert an exception of a procedure's method to the client's error; log unexpected ones."""
    if isinstance(error, VirError):
        return error
    if isinstance(error, ConfError):
        return from_conf_error(error)
    if isinstance(error, (DeadlineExceeded, TimeoutError)):
        detail = f"{procedure} was not done in time: {error}"
        return VirError(ErrorCode.OPERATION_TIMEOUT, detail)
    if isinstance(error, BusError) and not isinstance(error, HandlerFailed):
        log.warning("%s failed: %s", procedure, error)
        return VirError(ErrorCode.INTERNAL_ERROR, f"{procedure} was cut short: {error}")
    if isinstance(error, ResultTooLarge):
        log.warning("the reply to %s cannot be sent: %s", procedure, error)
        detail = f"Unable to encode message payload: {error}"
        return VirError(ErrorCode.RPC, detail, ErrorDomain.RPC)
    if isinstance(error, OSError) and error.errno and error.filename:
        log.error("%s failed", procedure, exc_info=error)
        return from_os_error(error)
    log.error("%s raised an unexpected exception", procedure, exc_info=error)
    detail = f"{procedure} raised an unexpected exception, see the daemon's log: {error}"
    return VirError(ErrorCode.INTERNAL_ERROR, detail)


def from_os_error(error: OSError, domain: ErrorDomain = ErrorDomain.NONE) -> VirError:
    """Convert what the kernel or the disk refuses, as a full one does, to the client's error."""
    reason = error.strerror or str(error)
    detail = f"cannot use '{error.filename}': {reason}" if error.filename else reason
    return VirError(ErrorCode.SYSTEM_ERROR, detail, domain, int1=error.errno or -1)


def from_conf_error(error: ConfError, domain: ErrorDomain = ErrorDomain.DOMAIN) -> VirError:
    """Convert a refusal of `conf` to the client's error."""
    name = CONF_CODES.get(error.kind, error.kind.upper())
    code = ErrorCode.__members__.get(name, ErrorCode.INTERNAL_ERROR)
    return VirError(code, error.message, domain)


def no_reply(
    process: str,
    procedure: str,
    error: BusError,
    *,
    lost: ErrorCode = ErrorCode.RPC,
    domain: ErrorDomain = ErrorDomain.RPC,
) -> VirError:
    """Make the client's error for a call to which a process gave no reply.

    Args:
        process: that did not reply.
        procedure: that was called.
        error: why there is no reply: the deadline passed, or the process is lost.
        lost: the code where the process is lost; a passed deadline is OPERATION_TIMEOUT.
        domain: of the error.
    """
    log.warning("%s got no reply from %s: %s", procedure, process, error)
    if isinstance(error, DeadlineExceeded):
        detail = f"{process} did not reply to {procedure} in time"
        return VirError(ErrorCode.OPERATION_TIMEOUT, detail, domain)
    detail = f"{process} was lost while it handled {procedure}, repeat the call: {error}"
    return VirError(lost, detail, domain)
