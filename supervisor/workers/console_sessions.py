"""Open consoles and channels of one domain: one client each, until it ends or another takes over.

Owns: the sessions of one worker. May touch: the relays between devices and clients' streams.
Source: libvirt 9.0, VIR_DOMAIN_CONSOLE_FORCE.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers.console_relay import Relay

K = TypeVar("K", bound=Hashable)


class ConsoleSessions(Generic[K]):
    """The open character devices of one domain, by path or name."""

    def __init__(self, domain: ErrorDomain) -> None:
        self._domain = domain
        self._open: dict[K, Relay] = {}

    def claim(self, key: K, *, force: bool) -> None:
        """Make sure that a device is not open; with `force`, end the session that has it open.

        Raises:
            VirError: OPERATION_FAILED: another client has it open, and `force` is not set.
        """
        session = self._open.get(key)
        if session is None:
            return
        if not force:
            detail = "Active console session exists for this domain"
            raise VirError(ErrorCode.OPERATION_FAILED, detail, self._domain)
        session.close()

    def open(self, key: K, device: int, on_close: Callable[[], None] | None = None) -> int:
        """Relay between a device and a client's stream; the device's descriptor is taken over.

        Args:
            key: the device.
            device: its descriptor.
            on_close: is called when the session has ended.

        Returns:
            The client's end of the stream, which the caller owns.
        """

        def ended(pump: Relay) -> None:
            if on_close is not None:
                on_close()
            if self._open.get(key) is pump:
                del self._open[key]

        relay = Relay(device, ended)
        self._open[key] = relay
        return relay.take_stream()
