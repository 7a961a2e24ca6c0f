"""Clients' streams to a container's terminals.

Owns: who has which open: one client at a time. May touch: terminals that liblxc's monitor gives.
Source: libvirt 9.0, virDomainOpenConsole.
"""

from __future__ import annotations

from typing import Final, Protocol

from conf.domain import Domain
from rpc.enums import DomainConsoleFlags
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Domain as DomainId
from supervisor.calls import ClientCall
from supervisor.workers.lxc.calls.flags import invalid, refuse_flags
from supervisor.workers.lxc.container import Container
from supervisor.workers.lxc.engine import open_terminal
from supervisor.workers.pump import Pump

FLAGS: Final = int(DomainConsoleFlags.FORCE | DomainConsoleFlags.SAFE)


class HasContainer(Protocol):
    """What has the container (`Worker`)."""

    def guest(self) -> Container:
        """The running container."""


class Consoles:
    """Streams to terminals."""

    def __init__(self, worker: HasContainer) -> None:
        """Open the terminals of the worker's container."""
        self._worker = worker
        self._sessions: dict[int, Pump] = {}

    async def domain_open_console(
        self, call: ClientCall, dom: DomainId, dev_name: str | None, flags: int
    ) -> None:
        """Open a console by its alias, or the first one.

        Raises:
            VirError: INVALID_ARG: there is no such console; OPERATION_FAILED: another client has
                it open and this one does not force its way in.
        """
        refuse_flags("lxcDomainOpenConsole", flags, FLAGS)
        container = self._worker.guest()
        number = terminal_of(container.domain, dev_name)
        self._claim(number, force=bool(flags & DomainConsoleFlags.FORCE))
        terminal = await open_terminal(container.folder, number)

        def ended(pump: Pump) -> None:
            terminal.close()
            if self._sessions.get(number) is pump:
                del self._sessions[number]

        pump = Pump(terminal.take(), ended)
        self._sessions[number] = pump
        call.offer_stream(pump.take_stream())

    def _claim(self, number: int, *, force: bool) -> None:
        session = self._sessions.get(number)
        if session is None:
            return
        if not force:
            detail = "Active console session exists for this domain"
            raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.LXC)
        session.close()


def terminal_of(domain: Domain, name: str | None) -> int:
    """The number of a console's terminal: 0 the first console, N the (N-1)th other one's ttyN.

    Raises:
        VirError: INVALID_ARG: there is no such console.
    """
    for place, console in enumerate(domain.devices.consoles):
        if name is None or name == console.alias:
            return place + 1 if place else 0
    raise invalid(f"cannot find console device '{name if name is not None else 'default'}'")
