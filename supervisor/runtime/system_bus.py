"""Calls to systemd and systemd-machined over the system's D-Bus, each within a deadline.

Owns: their names, and a connection for one purpose. May touch: the system's D-Bus.
May not touch: units and machines; its callers say what is asked.
Source: org.freedesktop.systemd1(5), org.freedesktop.machine1(5), sd_booted(3).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jeepney import DBusAddress, DBusErrorResponse, Message, MessageType
from jeepney.io.asyncio import DBusRouter, open_dbus_router
from jeepney.io.common import RouterClosed

from rpc.errors import ErrorCode, ErrorDomain, VirError

BOOTED: Final = Path("/run/systemd/system")
SOCKET: Final = Path("/run/dbus/system_bus_socket")
SYSTEMD: Final = "org.freedesktop.systemd1"
MANAGER: Final = DBusAddress("/org/freedesktop/systemd1", SYSTEMD, f"{SYSTEMD}.Manager")
MACHINE1: Final = "org.freedesktop.machine1"
MACHINED: Final = DBusAddress("/org/freedesktop/machine1", MACHINE1, f"{MACHINE1}.Manager")
LOST: Final = (OSError, EOFError, KeyError, RouterClosed)


def has_systemd() -> bool:
    """Return whether systemd is the host's init and can be spoken to."""
    return BOOTED.is_dir() and SOCKET.exists()


@dataclass(frozen=True, slots=True)
class SystemBus:
    """The system's D-Bus, for one purpose within one deadline."""

    router: DBusRouter

    async def call(self, message: Message) -> Message:
        """Call a method.

        Raises:
            DBusErrorResponse: it refuses.
        """
        reply = await self.router.send_and_get_reply(message)
        if reply.header.message_type is MessageType.error:
            raise DBusErrorResponse(reply)
        return reply


@contextlib.asynccontextmanager
async def system_bus(purpose: str, deadline_s: float) -> AsyncIterator[SystemBus]:
    """Connect to the system's D-Bus.

    Raises:
        VirError: DBUS_SERVICE: a service refuses, or there is no bus; OPERATION_TIMEOUT: it does
            not answer in time.
    """
    try:
        async with asyncio.timeout(deadline_s), open_dbus_router("SYSTEM") as router:
            yield SystemBus(router)
    except DBusErrorResponse as error:
        # libvirt's words, which clients have read for years.
        text = error.data[0] if error.data and isinstance(error.data[0], str) else ""
        detail = f"GDBus.Error:{error.name}: {text}"
        raise VirError(ErrorCode.DBUS_SERVICE, detail, ErrorDomain.DBUS) from error
    except TimeoutError:
        detail = f"no answer of systemd or machined in {deadline_s:.0f} s: {purpose}"
        raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.SYSTEMD) from None
    except LOST as error:
        detail = f"the system's D-Bus cannot be used to {purpose}: {error}"
        raise VirError(ErrorCode.DBUS_SERVICE, detail, ErrorDomain.DBUS) from error
