"""Parses and formats <interface>, and converts kernel errors.

Owns: those. May not touch: devices.
"""

from __future__ import annotations

import contextlib

from conf.domain.devices.interface import Interface
from conf.errors import ConfError
from conf.mapper import Mode, parse, write
from conf.types.bandwidth import Bandwidth
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.errors import from_conf_error
from supervisor.dispatch.service_errors import NETWORK_ERRORS


class KernelErrors(contextlib.AbstractContextManager[None]):
    """Context manager that converts OSError to SYSTEM_ERROR."""

    def __init__(self, action: str) -> None:
        """Take the action for the message: "cannot …"."""
        self._doing = action

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Raise SYSTEM_ERROR from an OSError."""
        if isinstance(error, TimeoutError):
            detail = f"{self._doing}: the kernel did not answer in time"
            raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.NETWORK) from error
        if isinstance(error, OSError):
            raise NETWORK_ERRORS.system_error(self._doing, error) from error


def read_interface(xml: str) -> Interface:
    """Parse an <interface>.

    Raises:
        VirError: XML_ERROR and the like.
    """
    try:
        return parse(Interface, xml)
    except ConfError as error:
        raise from_conf_error(error, ErrorDomain.NETWORK) from error


def read_bandwidth(xml: str) -> Bandwidth:
    """Parse a <bandwidth>.

    Raises:
        VirError: XML_ERROR and the like.
    """
    try:
        return parse(Bandwidth, xml)
    except ConfError as error:
        raise from_conf_error(error, ErrorDomain.NETWORK) from error


def write_interface(interface: Interface) -> str:
    """Format a running domain's <interface>."""
    return write(interface, Mode(live=True, secure=True))
