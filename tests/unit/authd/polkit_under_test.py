"""A D-Bus of the test's own, with a polkit whose answers the test chooses."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from jeepney import MessageType, new_error, new_method_return
from jeepney.bus_messages import message_bus
from jeepney.io.asyncio import Proxy, open_dbus_connection, open_dbus_router

CONFIG: Final = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow eavesdrop="true"/><allow own="*"/>
</policy></busconfig>
"""
NAME: Final = "org.freedesktop.PolicyKit1"


@dataclass
class Polkit:
    """What the test's polkit was asked, and what it answers."""

    answer: tuple[bool, bool, dict[str, str]] | None = (True, False, {})  # None: an error
    is_silent: bool = False
    questions: list[Any] = field(default_factory=list)

    async def serve(self, ready: asyncio.Event) -> None:
        async with open_dbus_router() as router:
            await Proxy(message_bus, router).RequestName(NAME)
        connection = await open_dbus_connection()
        try:
            await connection.send(message_bus.RequestName(NAME))
            await connection.receive()
            ready.set()
            while True:
                message = await connection.receive()
                if message.header.message_type is not MessageType.method_call:
                    continue
                self.questions.append(message.body)
                if self.is_silent:
                    continue
                if self.answer is None:
                    reply = new_error(message, "org.freedesktop.PolicyKit1.Error.Failed")
                else:
                    reply = new_method_return(message, "(bba{ss})", (self.answer,))
                await connection.send(reply)
        finally:
            await connection.close()


@asynccontextmanager
async def system_bus(folder: Path) -> AsyncIterator[None]:
    """A message bus that this process takes for the system's."""
    socket, config = folder / "bus", folder / "bus.conf"
    config.write_text(CONFIG.format(socket=socket))
    bus = await asyncio.create_subprocess_exec(
        *("dbus-daemon", f"--config-file={config}", "--nofork", "--print-address"),
        stdout=asyncio.subprocess.PIPE,
    )
    names = ("DBUS_SYSTEM_BUS_ADDRESS", "DBUS_SESSION_BUS_ADDRESS")
    former = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(former, f"unix:path={socket}"))
    try:
        assert bus.stdout is not None
        await bus.stdout.readline()  # it listens
        yield
    finally:
        for name, value in former.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        bus.terminate()
        await bus.wait()


@asynccontextmanager
async def polkit(folder: Path) -> AsyncIterator[Polkit]:
    """A bus with a polkit on it."""
    async with system_bus(folder):
        service, ready = Polkit(), asyncio.Event()
        task = asyncio.create_task(service.serve(ready))
        await ready.wait()
        try:
            yield service
        finally:
            task.cancel()
            await asyncio.wait([task])
