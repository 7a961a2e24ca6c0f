"""Errors that every service raises, each in its own error domain.

Owns: their texts. Pure.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError


@dataclass(frozen=True, slots=True)
class ServiceErrors:
    """Error factory of one service or hypervisor driver."""

    domain: ErrorDomain
    prefix: str = ""  # of the functions of a hypervisor driver: "qemu" of qemuDomainDefineXML

    def check_flags(self, function: str, flags: int, supported: int = 0) -> None:
        """Refuse flags that a call does not support.

        Args:
            function: libvirt's name of the driver's function, without the prefix.
            flags: the client's.
            supported: the call's.

        Raises:
            VirError: INVALID_ARG naming the unsupported ones.
        """
        unsupported = flags & ~int(supported)
        if unsupported:
            name = f"{self.prefix}{function}"
            raise self.invalid_arg(f"unsupported flags ({unsupported:#x}) in function {name}")

    def check_exclusive(self, flags: int, first: int, second: int) -> None:
        """Refuse two flags that exclude each other.

        Raises:
            VirError: INVALID_ARG.
        """
        if flags & first and flags & second:
            detail = f"flags {first:#x} and {second:#x} are mutually exclusive: give one of them"
            raise self.invalid_arg(detail)

    def error(self, code: ErrorCode, detail: str) -> VirError:
        """Make an error of this code."""
        return VirError(code, detail, self.domain)

    def operation_invalid(self, detail: str) -> VirError:
        """OPERATION_INVALID: not possible in the object's present state."""
        return VirError(ErrorCode.OPERATION_INVALID, detail, self.domain)

    def operation_failed(self, detail: str) -> VirError:
        """OPERATION_FAILED."""
        return VirError(ErrorCode.OPERATION_FAILED, detail, self.domain)

    def operation_timeout(self, detail: str) -> VirError:
        """OPERATION_TIMEOUT."""
        return VirError(ErrorCode.OPERATION_TIMEOUT, detail, self.domain)

    def operation_unsupported(self, detail: str) -> VirError:
        """OPERATION_UNSUPPORTED: the driver or the guest's devices do not implement it."""
        return VirError(ErrorCode.OPERATION_UNSUPPORTED, detail, self.domain)

    def invalid_arg(self, detail: str) -> VirError:
        """INVALID_ARG: an impossible argument."""
        return VirError(ErrorCode.INVALID_ARG, detail, self.domain)

    def system_error(self, operation: str, error: OSError) -> VirError:
        """SYSTEM_ERROR: the kernel or the disk refused an operation; `int1` is the errno.

        Args:
            operation: what was to be done.
            error: it names a file where one is to blame.
        """
        number = error.errno
        reason = error.strerror or (os.strerror(number) if number else str(error))
        if not reason and isinstance(error, TimeoutError):  # asyncio's says nothing
            reason = "no answer in time"
        name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
        if name and name not in operation:
            reason = f"'{name}': {reason}"
        detail = f"{operation}: {reason}"
        return VirError(ErrorCode.SYSTEM_ERROR, detail, self.domain, int1=number or -1)

    def needs_system_daemon(self, operation: str, alternative: str = "") -> VirError:
        """OPERATION_DENIED: a session daemon lacks the rights.

        Args:
            operation: the subject of the sentence, "starting a network".
            alternative: what a session daemon can do instead.
        """
        detail = f"{operation} needs the system daemon: connect to qemu:///system"
        if alternative:
            detail = f"{detail}, or {alternative} in qemu:///session"
        return VirError(ErrorCode.OPERATION_DENIED, detail, self.domain)


#: The services that are no hypervisor driver; a driver's is `Driver.errors`.
HOST_ERRORS: Final = ServiceErrors(ErrorDomain.NONE)  # calls about the host are of no driver
INTERFACE_ERRORS: Final = ServiceErrors(ErrorDomain.INTERFACE)
NETWORK_ERRORS: Final = ServiceErrors(ErrorDomain.NETWORK)
NWFILTER_ERRORS: Final = ServiceErrors(ErrorDomain.NWFILTER)
SECRET_ERRORS: Final = ServiceErrors(ErrorDomain.SECRET)
STORAGE_ERRORS: Final = ServiceErrors(ErrorDomain.STORAGE)
