"""An avahi of the test's own on a D-Bus of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from jeepney import DBusAddress, Message, MessageType, new_error, new_method_return, new_signal
from jeepney.bus_messages import message_bus
from jeepney.io.asyncio import DBusConnection, open_dbus_connection
from jeepney.low_level import HeaderFields

from supervisor.authd.mdns import AVAHI, GroupState, ServerState

GROUP: Final = "/Client1/EntryGroup1"

Entry = tuple[str, str, int]  # name, type, port


@dataclass
class Avahi:
    """What the test's avahi was told."""

    connection: DBusConnection
    state: ServerState = ServerState.RUNNING
    taken: set[str] = field(default_factory=set)  # names that other hosts have
    entry: Entry | None = None  # added, maybe not committed yet
    announced: asyncio.Queue[Entry | None] = field(default_factory=asyncio.Queue)

    async def serve(self) -> None:
        """Answer calls."""
        while True:
            message = await self.connection.receive()
            if message.header.message_type is MessageType.method_call:
                await self._answer(message, message.header.fields[HeaderFields.member])

    async def _answer(self, call: Message, method: str) -> None:
        if method == "GetState":
            await self._reply(call, "i", int(self.state))
        elif method == "EntryGroupNew":
            await self._reply(call, "o", GROUP)
        elif method == "GetAlternativeServiceName":
            await self._reply(call, "s", f"{call.body[0]} #2")
        elif method == "AddService":
            _, _, _, name, kind, _, _, port, _ = call.body
            self.entry = (name, kind, port)
            await self._reply(call)
        elif method == "Reset":
            self.entry = None
            await self._reply(call)
        elif method == "Commit":
            await self._reply(call)
            await self._commit()
        else:
            await self.connection.send(new_error(call, f"{AVAHI}.NotSupportedError"))

    async def _commit(self) -> None:
        assert self.entry is not None
        taken = self.entry[0] in self.taken
        if not taken:
            self.announced.put_nowait(self.entry)
        state = GroupState.COLLISION if taken else GroupState.ESTABLISHED
        await self._signal(GROUP, "EntryGroup", int(state))

    async def change_state(self, state: ServerState) -> None:
        """Tell clients of a new state of the server."""
        self.state = state
        await self._signal("/", "Server", int(state))

    async def _reply(self, call: Message, signature: str = "", *body: object) -> None:
        await self.connection.send(new_method_return(call, signature or None, body))

    async def _signal(self, path: str, interface: str, state: int) -> None:
        emitter = DBusAddress(path, interface=f"{AVAHI}.{interface}")
        await self.connection.send(new_signal(emitter, "StateChanged", "is", (state, "")))


@asynccontextmanager
async def avahi(state: ServerState = ServerState.RUNNING, *taken: str) -> AsyncIterator[Avahi]:
    """An avahi on the bus that there is, until the context ends."""
    connection = await open_dbus_connection(bus="SYSTEM")
    service = Avahi(connection, state, set(taken))
    await connection.send(message_bus.RequestName(AVAHI))
    serving = asyncio.create_task(service.serve())
    try:
        yield service
    finally:
        serving.cancel()
        await asyncio.wait([serving])
        await connection.close()
