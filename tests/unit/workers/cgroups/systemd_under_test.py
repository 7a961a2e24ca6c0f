"""A systemd and a systemd-machined of the test's own, on a D-Bus of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from jeepney import DBusAddress, Message, MessageType, new_error, new_method_return, new_signal
from jeepney.bus_messages import message_bus
from jeepney.io.asyncio import DBusConnection, open_dbus_connection
from jeepney.low_level import HeaderFields

from supervisor.runtime.system_bus import MACHINE1, MANAGER, SYSTEMD

JOB: Final = "/org/freedesktop/systemd1/job/7"


@dataclass
class Systemd:
    """What the test's systemd was asked, and how it answers."""

    connection: DBusConnection
    result: str | None = "done"  # of a job; None: it never ends
    refuses: str = ""  # the error of every call
    is_silent: bool = False
    calls: list[tuple[str, Any]] = field(default_factory=list)

    async def serve(self) -> None:
        while True:
            message = await self.connection.receive()
            if message.header.message_type is MessageType.method_call:
                await self._answer(message, message.header.fields[HeaderFields.member])

    async def _answer(self, call: Message, method: str) -> None:
        self.calls.append((method, call.body))
        if self.is_silent:
            return
        if self.refuses:
            await self.connection.send(new_error(call, self.refuses, "s", ("it will not",)))
        elif method == "StartTransientUnit":
            await self._signal_end("/org/freedesktop/systemd1/job/6", "failed")  # another's
            await self.connection.send(new_method_return(call, "o", (JOB,)))
            if self.result is not None:
                await self._signal_end(JOB, self.result)
        elif method in ("StopUnit", "RegisterMachineWithNetwork"):
            await self.connection.send(new_method_return(call, "o", (JOB,)))
        else:
            await self.connection.send(new_method_return(call))

    async def _signal_end(self, job: str, result: str) -> None:
        emitter = DBusAddress(MANAGER.object_path, interface=MANAGER.interface)
        body = (7, job, "machine-x.scope", result)
        await self.connection.send(new_signal(emitter, "JobRemoved", "uoss", body))

    def asked(self, method: str) -> list[Any]:
        """List the arguments of each call of a method."""
        return [body for name, body in self.calls if name == method]


@asynccontextmanager
async def systemd(*, machined: bool = True) -> AsyncIterator[Systemd]:
    """A systemd on the bus that there is, until the context ends."""
    connection = await open_dbus_connection(bus="SYSTEM")
    service = Systemd(connection)
    for name in (SYSTEMD, MACHINE1)[: 1 + machined]:
        await connection.send(message_bus.RequestName(name))
        while (await connection.receive()).header.message_type is MessageType.signal:
            pass
    serving = asyncio.create_task(service.serve())
    try:
        yield service
    finally:
        serving.cancel()
        await asyncio.wait([serving])
        await connection.close()
