"""Events under access control: a client gets those of objects that it may see.

Owns: the events of one client that wait for an answer, in their order.
May touch: the owner of an event's object, over the bus. May not touch: other clients.
Source: libvirt 9.0 asks for `getattr` on the object of each event (acl_filter).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol

from ipc import BusError, Node
from rpc import table
from rpc.errors import ErrorCode, VirError
from supervisor.access.access_object import ObjectValue
from supervisor.access.lists import FULL_LISTS
from supervisor.drivers.table import DRIVERS
from supervisor.messages.calls import CheckAccess, Client, ClientEvent
from supervisor.rpcd.event_callbacks import EventMessage

MAX_WAITING: Final = 1024  # events of one client; with more it is closed
#: Families of events that are named otherwise than the type of their object.
TYPES: Final = {"qemu_monitor": "domain"}
GETATTR: Final = "getattr"
DEPTH: Final = 3  # of structures in a message, below which no object is

MaySee = Callable[[Client, ClientEvent], Awaitable[bool]]

log = logging.getLogger(__name__)


class EventReceiver(Protocol):
    """The client that events are for."""

    def send_events(self, messages: Iterable[EventMessage]) -> None:
        """Send the messages of an event."""

    def refuse_events(self, reason: str) -> None:
        """Close the connection: it would miss events."""


class EventAccess:
    """The events of one client."""

    def __init__(self, may_see: MaySee, receiver: EventReceiver) -> None:
        self._may_see = may_see
        self._receiver = receiver
        self._waiting: deque[tuple[Client, ClientEvent, list[EventMessage]]] = deque()
        self._task: asyncio.Task[None] | None = None

    def offer(self, client: Client, event: ClientEvent, messages: list[EventMessage]) -> None:
        """Send an event once its owner has said that the client may see it.

        Args:
            client: its receiver, as services know it.
            event: of its driver.
            messages: of the callbacks that it is for.
        """
        if len(self._waiting) >= MAX_WAITING:
            self._receiver.refuse_events("too many events wait for access control")
            return
        self._waiting.append((client, event, messages))
        if self._task is None:
            self._task = asyncio.ensure_future(self._send_allowed())

    def close(self) -> None:
        """Forget what waits: the client is gone."""
        self._waiting.clear()

    async def _send_allowed(self) -> None:
        while self._waiting:
            client, event, messages = self._waiting[0]
            allowed = await self._may_see(client, event)
            if self._waiting:
                self._waiting.popleft()
                if allowed:
                    self._receiver.send_events(messages)
        self._task = None


async def may_see(node: Node, client: Client, event: ClientEvent) -> bool:
    """Ask the owner of an event's object whether a client may see it."""
    object_type = TYPES.get(event.family, event.family)
    owner = str(table.load().named(FULL_LISTS[object_type]).owner)
    process = DRIVERS[client.driver].process(owner)
    request = CheckAccess(
        client=client,
        permission=(object_type, GETATTR),
        uuid=event.uuid,
        name=name_in(event),
    )
    try:
        await node.link(process).call(request)
    except (BusError, VirError) as error:
        if not (isinstance(error, VirError) and error.code is ErrorCode.ACCESS_DENIED):
            log.warning("an event is not sent: %s does not say who may see it: %s", process, error)
        return False
    return True


def name_in(event: ClientEvent) -> str:
    """Find the name of an event's object in its message: the object itself may be gone."""
    if event.monitor is not None:
        return event.monitor.domain
    number = table.EventId(event.family, event.event_id)
    procedure = table.load().event(number)
    if procedure is None:
        return ""
    try:
        values = procedure.decode_args(bytes(4) + event.payload)
    except ValueError:
        return ""
    for value in structures(values, DEPTH):
        if getattr(value, "uuid", event.uuid) == event.uuid:
            name = getattr(value, "name", None)
            if isinstance(name, str):
                return name
    return ""


def structures(values: Sequence[object], depth: int) -> Iterator[ObjectValue | tuple[object, ...]]:
    """List the structures in decoded values, the outer ones first."""
    for value in values:
        if isinstance(value, tuple):
            yield value
            if depth:
                yield from structures(value, depth - 1)
