"""Announces the host by mDNS, through avahi on the system's D-Bus: `mdns_adv`, `mdns_name`.

Owns: the service entry at avahi, which goes with our connection to the bus.
May touch: D-Bus. May not touch: clients; nobody ever waits for what happens here.
Source: libvirt's service type "_libvirt._tcp", whose port is that of TLS, or 0 where clients come
over ssh alone; avahi's D-Bus interfaces org.freedesktop.Avahi.Server and EntryGroup.

avahi may be started, ended and restarted at any time: the bus says so, and it is never started by
us. When it comes, the service is entered; when it goes, the service is gone with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final, TypeVar

import msgspec
from jeepney import DBusAddress, DBusErrorResponse, Message, MessageType, new_method_call
from jeepney.bus_messages import MatchRule, message_bus
from jeepney.io.asyncio import DBusConnection, open_dbus_connection
from jeepney.low_level import HeaderFields, MessageFlag

from conf.settings import DaemonConfig

AVAHI: Final = "org.freedesktop.Avahi"
BUS: Final = "org.freedesktop.DBus"
SERVICE_TYPE: Final = "_libvirt._tcp"
ANY: Final = -1  # network interface, protocol
CALL_S: Final = 10.0
RETRY_S: Final = 30.0  # between attempts while there is no bus, or avahi refuses
MAX_SIGNALS: Final = 64  # kept while a call is answered
MAX_NAMES: Final = 32  # tried where other hosts have the same name
MAX_NAME: Final = 63  # bytes of a service's name (RFC 6763)

#: The values of a D-Bus message; avahi's and the bus's methods say of which types.
Reply = tuple[object, ...]

T = TypeVar("T")
log = logging.getLogger(__name__)


class ServerState(IntEnum):
    """AvahiServerState."""

    INVALID = 0
    REGISTERING = 1
    RUNNING = 2
    COLLISION = 3
    FAILURE = 4


class GroupState(IntEnum):
    """AvahiEntryGroupState."""

    UNCOMMITED = 0
    REGISTERING = 1
    ESTABLISHED = 2
    COLLISION = 3
    FAILURE = 4


@dataclass(frozen=True, slots=True)
class Service:
    """What is announced."""

    name: str
    port: int  # 0: there is none, clients come over ssh


def read(body: object, kind: type[T]) -> T:
    """Read the values of a message.

    Raises:
        ValueError: they are of other types.
    """
    return msgspec.convert(body, kind)


def service_of(config: DaemonConfig, tls_port: int, hostname: str) -> Service | None:
    """Choose what is announced; None: nothing. Pure.

    Args:
        config: libvirtd.conf.
        tls_port: where the daemon listens for TLS; 0: nowhere. Plain TCP is not announced.
        hostname: of the host, also with its domain.
    """
    if not config.mdns_adv:
        return None
    name = config.mdns_name or f"Virtualization Host {hostname.partition('.')[0]}"
    return Service(shortened(name), tls_port)


def shortened(name: str) -> str:
    """Cut a name to the bytes that DNS-SD has for it, between characters."""
    return name.encode()[:MAX_NAME].decode(errors="ignore")


class Announcer:
    """Keeps one service announced while avahi runs."""

    def __init__(self) -> None:
        self._service: Service | None = None
        self._task: asyncio.Task[None] | None = None

    def announce(self, service: Service | None) -> None:
        """Announce a service from now on instead of the last one; None: nothing."""
        if service == self._service:
            return
        self.close()
        self._service = service
        if service is not None:
            self._task = asyncio.get_running_loop().create_task(_keep_announced(service))

    def close(self) -> None:
        """Announce nothing; the bus tells avahi when the connection is closed."""
        if self._task is not None:
            self._task.cancel()
        self._task, self._service = None, None


async def _keep_announced(service: Service) -> None:
    is_reported = False
    while True:
        try:
            async with system_bus() as bus:
                is_reported = False
                await Announcement(bus, service).run()
        except (OSError, KeyError, EOFError, ValueError, TimeoutError, DBusErrorResponse) as error:
            if not is_reported:
                log.warning("'%s' is not announced by mDNS: %r", service.name, error)
            is_reported = True
        await asyncio.sleep(RETRY_S)


class Bus:
    """A connection to the system's D-Bus: calls, and signals in the order in which they came."""

    def __init__(self, connection: DBusConnection) -> None:
        self._connection = connection
        self._signals: deque[Message] = deque(maxlen=MAX_SIGNALS)

    async def call(self, message: Message) -> Reply:
        """Call a method of a service that runs; one that does not is not started.

        Raises:
            DBusErrorResponse: it refuses. TimeoutError: it does not answer. EOFError, OSError: the
                bus is gone.
        """
        message.header.flags |= MessageFlag.no_auto_start
        serial = next(self._connection.outgoing_serial)
        async with asyncio.timeout(CALL_S):
            await self._connection.send(message, serial=serial)
            while True:
                reply = await self._connection.receive()
                if reply.header.fields.get(HeaderFields.reply_serial) == serial:
                    break
                if reply.header.message_type is MessageType.signal:
                    self._signals.append(reply)
        if reply.header.message_type is MessageType.error:
            raise DBusErrorResponse(reply)
        return tuple(reply.body)

    async def signal(self) -> Message:
        """Wait for the next signal.

        Raises:
            EOFError, OSError: the bus is gone.
        """
        while not self._signals:
            message = await self._connection.receive()
            if message.header.message_type is MessageType.signal:
                self._signals.append(message)
        return self._signals.popleft()


@contextlib.asynccontextmanager
async def system_bus() -> AsyncIterator[Bus]:
    """Connect to the system's D-Bus.

    Raises:
        OSError, KeyError, EOFError, TimeoutError: there is none, or it does not answer.
    """
    async with asyncio.timeout(CALL_S):
        connection = await open_dbus_connection(bus="SYSTEM")
    try:
        yield Bus(connection)
    finally:
        with contextlib.suppress(OSError):
            await connection.close()


class Announcement:
    """The service at the avahi of one connection."""

    def __init__(self, bus: Bus, service: Service) -> None:
        self._bus = bus
        self._service = service  # its name changes where another host has it
        self._avahi = ""  # its unique name on the bus; "": it does not run
        self._group = ""  # path of our entry group
        self._names = 0

    async def run(self) -> None:
        """Follow avahi until the bus is gone.

        Raises:
            DBusErrorResponse, TimeoutError: avahi refuses or hangs. EOFError, OSError: no bus.
            ValueError: avahi answers something else.
        """
        owner = MatchRule(type="signal", sender=BUS, interface=BUS, member="NameOwnerChanged")
        owner.add_arg_condition(0, AVAHI)
        await self._bus.call(message_bus.AddMatch(owner))
        await self._bus.call(message_bus.AddMatch(MatchRule(type="signal", sender=AVAHI)))
        try:
            owner_name = await self._bus.call(message_bus.GetNameOwner(AVAHI))
        except DBusErrorResponse:
            log.info("'%s' is announced by mDNS once avahi runs", self._service.name)
        else:
            self._avahi = read(owner_name, tuple[str])[0]
            await self._enter()
        while True:
            await self._handle(await self._bus.signal())

    async def _handle(self, signal: Message) -> None:
        fields = signal.header.fields
        sender, member = fields.get(HeaderFields.sender), fields.get(HeaderFields.member)
        if sender == BUS and member == "NameOwnerChanged":
            await self._owner_changed(read(signal.body, tuple[str, str, str])[2])
        elif sender == self._avahi and member == "StateChanged":
            if fields.get(HeaderFields.path) == self._group:
                await self._group_changed(read(signal.body, tuple[int, str])[0])
            elif fields.get(HeaderFields.interface) == f"{AVAHI}.Server":
                await self._server_changed(read(signal.body, tuple[int, str])[0])

    async def _owner_changed(self, owner: str) -> None:
        if owner == self._avahi:
            return  # it came while we asked for it
        self._avahi, self._group = owner, ""
        if owner:
            await self._enter()
        else:
            log.info("avahi has ended: '%s' is not announced by mDNS", self._service.name)

    async def _server_changed(self, state: int) -> None:
        """Enter the service again when avahi has a new host name, or network, of its own."""
        if state == ServerState.RUNNING:
            await self._enter()
        elif self._group and state in (ServerState.REGISTERING, ServerState.COLLISION):
            await self._ask_group("Reset")

    async def _group_changed(self, state: int) -> None:
        if state == GroupState.ESTABLISHED:
            log.info("'%s' is announced by mDNS, port %d", self._service.name, self._service.port)
        elif state == GroupState.COLLISION:
            await self._rename()
        elif state == GroupState.FAILURE:
            log.warning("'%s' is not announced by mDNS: avahi fails", self._service.name)

    async def _rename(self) -> None:
        """Take another name, for another host has this one."""
        self._names += 1
        if self._names > MAX_NAMES:
            log.warning("no name like '%s' is free for mDNS", self._service.name)
            return
        reply = await self._ask("GetAlternativeServiceName", "s", self._service.name)
        (name,) = read(reply, tuple[str])
        self._service = replace(self._service, name=shortened(name))
        await self._enter()

    async def _enter(self) -> None:
        """Enter the service, if avahi is ready; else it tells when it is."""
        (state,) = read(await self._ask("GetState"), tuple[int])
        if state != ServerState.RUNNING:
            return
        if self._group:
            await self._ask_group("Reset")
        else:
            (self._group,) = read(await self._ask("EntryGroupNew"), tuple[str])
        service = self._service
        entry: Reply = (ANY, ANY, 0, service.name, SERVICE_TYPE, "", "", service.port, [])
        try:
            await self._ask_group("AddService", "iiussssqaay", *entry)
        except DBusErrorResponse as error:
            if error.name != f"{AVAHI}.CollisionError":
                raise
            await self._rename()  # another program of this host has it
            return
        await self._ask_group("Commit")

    async def _ask(self, method: str, signature: str | None = None, *body: object) -> Reply:
        server = DBusAddress("/", self._avahi, f"{AVAHI}.Server")
        return await self._bus.call(new_method_call(server, method, signature, body))

    async def _ask_group(self, method: str, signature: str | None = None, *body: object) -> Reply:
        group = DBusAddress(self._group, self._avahi, f"{AVAHI}.EntryGroup")
        return await self._bus.call(new_method_call(group, method, signature, body))
