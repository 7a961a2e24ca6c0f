"""virDomainOpenConsole of a container: streams to its terminals.

Owns: the choice of the terminal. May touch: terminals of liblxc's monitor.
Source: libvirt 9.0, virDomainOpenConsole.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from conf.domain import Domain
from rpc.enums import DomainConsoleFlags
from rpc.errors import ErrorDomain, VirError
from rpc.values import Domain as DomainId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.drivers.lxc import LXC
from supervisor.workers.console_sessions import ConsoleSessions
from supervisor.workers.lxc.container import Container
from supervisor.workers.lxc.liblxc import Terminal, open_terminal

RETRY_PAUSES_S: Final = (0.01, 0.03, 0.1, 0.3)


class ContainerProvider(Protocol):
    """The worker, as the classes of clients' calls need it."""

    def guest(self) -> Container:
        """Return the running container.

        Raises:
            VirError: OPERATION_INVALID: it is not running.
        """


class Consoles:
    """Streams to terminals."""

    def __init__(self, worker: ContainerProvider) -> None:
        """Open the terminals of the worker's container."""
        self._worker = worker
        self._opening = asyncio.Lock()  # the monitor opens each terminal once
        self._sessions: ConsoleSessions[int] = ConsoleSessions(ErrorDomain.LXC)

    async def domain_open_console(
        self, call: ClientCall, dom: DomainId, dev_name: str | None, flags: int
    ) -> None:
        """Open a console by its alias, or the first one.

        Raises:
            VirError: INVALID_ARG: there is no such console; OPERATION_FAILED: another client has
                it open and FORCE is not set; OPERATION_INVALID: the container was started paused
                and not resumed yet.
        """
        container = self._worker.guest()
        container.require_init()
        number = terminal_of(container.domain, dev_name)
        force = bool(flags & DomainConsoleFlags.FORCE)
        async with self._opening:
            self._sessions.claim(number, force=force)
            terminal = await _open(container, number)
            stream = self._sessions.open(number, terminal.detach(), terminal.close)
        call.set_stream(stream)


async def _open(container: Container, number: int) -> Terminal:
    """Open a terminal, again for a moment: the monitor frees a closed one with a delay."""
    for pause in RETRY_PAUSES_S:
        try:
            return await open_terminal(container.folder, number)
        except VirError:
            await asyncio.sleep(pause)
    return await open_terminal(container.folder, number)


def terminal_of(domain: Domain, name: str | None) -> int:
    """Return a console's terminal number: 0 for the first console, N for /dev/ttyN.

    Raises:
        VirError: INVALID_ARG: there is no such console.
    """
    for place, console in enumerate(domain.devices.consoles):
        if name is None or name == console.alias:
            return place + 1 if place else 0
    raise LXC.errors.invalid_arg(
        f"cannot find console device '{name if name is not None else 'default'}'"
    )
