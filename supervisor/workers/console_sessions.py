"""Who has which console open: one client at a time, until it ends or another forces its way in.

Owns: the sessions of one worker. May touch: the pumps between devices and clients' streams.
Source: libvirt 9.0, VIR_DOMAIN_CONSOLE_FORCE.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers.console_relay import Relay

K = TypeVar("K", bound=Hashable)


class ConsoleSessions(Generic[K]):
    """The open devices of one guest, by what tells them apart."""

    def __init__(self, domain: ErrorDomain) -> None:
        """None is open; refusals are that driver's."""
        self._domain = domain
        self._open: dict[K, Relay] = {}

    def claim(self, key: K, *, force: bool) -> None:
        """See that nobody has a device, or end the session of who has it.

        Raises:
            VirError: OPERATION_FAILED: another client has it, and this one does not force its way.
        """
        session = self._open.get(key)
        if session is None:
            return
        if not force:
            detail = "Active console session exists for this domain"
            raise VirError(ErrorCode.OPERATION_FAILED, detail, self._domain)
        session.close()

    def open(self, key: K, device: int, on_close: Callable[[], None] | None = None) -> int:
        """Join a device, whose descriptor is ours from now on, with a client's stream.

        Args:
            key: the device.
            device: its descriptor.
            on_close: is called when the session is over.

        Returns:
            The client's end; the caller's from now on.
        """

        def ended(pump: Relay) -> None:
            if on_close is not None:
                on_close()
            if self._open.get(key) is pump:
                del self._open[key]

        relay = Relay(device, ended)
        self._open[key] = relay
        return relay.take_stream()
