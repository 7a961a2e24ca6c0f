"""Routes clients' calls to the services that answer them, and services' events to the servers.

Owns: which process answers a procedure, and the cached replies.
May touch: services over the bus. May not touch: clients.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from ipc import BusError, Descriptor, Node, PeerGone
from rpc.enums import DomainEventID
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.table import Procedure, ProtocolTable
from supervisor.access.control import AccessControl
from supervisor.dispatch.errors import no_reply
from supervisor.drivers.driver import Driver
from supervisor.drivers.table import DRIVERS, DriverTable
from supervisor.messages.calls import (
    Client,
    ClientEvent,
    ClientReply,
    ClientRequest,
    InvalidateCache,
    StreamEnd,
)
from supervisor.rpcd.event_access import may_see
from supervisor.rpcd.reply_cache import ReplyCache, cache_key

#: Deadline of `long` procedures, which may write a whole volume; they end with their client.
LONG_S: Final = 6 * 3600.0


class Router:
    """The way from clients' calls to services; one in the process."""

    def __init__(
        self,
        node: Node,
        table: ProtocolTable,
        *,
        session: bool,
        access: AccessControl | None,
        drivers: DriverTable = DRIVERS,
    ) -> None:
        """Link to every service that answers calls, and subscribe to its events.

        Args:
            node: this process on the bus.
            table: whose owners are linked to.
            session: whether this is a session daemon, which has fewer drivers.
            access: checks the calls that rpcd answers; None: there is no access control.
            drivers: the table of drivers.
        """
        self.session = session
        self._node = node
        self.access = access
        self.cache = ReplyCache()
        self.on_event: list[Callable[[ClientEvent], None]] = []
        self._drivers = drivers
        services = services_of(table, drivers.of_daemon(session=session))
        self._links = {name: node.link(name) for name in services}
        for service in services:
            node.subscribe(service, ClientEvent, self._event)
            node.subscribe(service, InvalidateCache, self._invalidate_cache)
        # What a lost service would have invalidated meanwhile is not known.
        node.on_peer_lost.append(lambda _: self.cache.clear())

    def process_for(self, procedure: Procedure, driver: str) -> str:
        """Choose the process that answers a call on a driver's connections."""
        return self._drivers[driver].process(str(procedure.owner))

    def invoke(
        self, procedure: Procedure, payload: bytes, client: Client, descriptors: list[Descriptor]
    ) -> Coroutine[Any, Any, ClientReply]:
        """Send a call to its owner; return what waits for the reply, to be awaited.

        The owner begins while this process still makes the task that waits.

        A query that the owner's death interrupted is sent once more; a change is not, for it may
        have been made.

        Raises:
            VirError: when awaited: the owner's refusal; RPC when it died; OPERATION_TIMEOUT at the
                deadline.
        """
        request = ClientRequest(
            program=procedure.program,
            procedure=procedure.number,
            payload=payload,
            client=client,
            descriptors=descriptors,
        )
        owner = self.process_for(procedure, client.driver)
        generation = self.cache.generation
        reply: Coroutine[Any, Any, ClientReply]
        try:
            reply = self._links[owner].begin(request, LONG_S if procedure.long else None)
        except BusError as error:
            reply = _fail(error)
        return self._await_reply(procedure, request, owner, generation, reply)

    async def _await_reply(
        self,
        procedure: Procedure,
        request: ClientRequest,
        owner: str,
        generation: int,
        waiting: Coroutine[Any, Any, ClientReply],
    ) -> ClientReply:
        try:
            try:
                reply = await waiting
            except PeerGone:
                if not procedure.read_only:
                    raise
                generation = self.cache.generation
                deadline_s = LONG_S if procedure.long else None
                reply = await self._links[owner].call(request, deadline_s=deadline_s)
        except BusError as error:
            raise no_reply(owner, procedure.name, error) from error
        if reply.cacheable:
            self.keep(procedure, request.payload, request.client.driver, reply, generation)
        return reply

    async def may_see(self, client: Client, event: ClientEvent) -> bool:
        """Ask the owner of an event's object whether a client may see it."""
        return await may_see(self._node, client, event)

    def keep(
        self, procedure: Procedure, payload: bytes, driver: str, reply: ClientReply, generation: int
    ) -> None:
        """Keep a cacheable reply, and what was read ahead with it.

        Args:
            procedure: that was called.
            payload: its arguments.
            driver: of the client's connection.
            reply: to that call.
            generation: of the cache when the call was sent.
        """
        key = cache_key(procedure, payload, driver)
        if reply.of_host:
            self.cache.put_of_host(key, reply.payload, generation)
            return
        if reply.of_state:
            self.cache.put_of_state(key, reply.payload, generation)
            return
        self.cache.put(key, reply.payload, generation, reply.cpu_time_of)
        for arguments, ahead in reply.readahead:
            self.cache.put(cache_key(procedure, arguments, driver), ahead, generation)

    async def end_stream(self, process: str, token: str, aborted: bool) -> None:  # noqa: FBT001
        """Have a stream's owner end its side.

        Raises:
            VirError: its side failed.
        """
        try:
            await self._links[process].call(StreamEnd(token=token, aborted=aborted))
        except BusError as error:
            detail = f"the stream's service did not confirm its end: {error}"
            raise VirError(ErrorCode.RPC, detail, ErrorDomain.STREAMS) from error

    def _invalidate_cache(self, change: InvalidateCache) -> None:
        self.cache.clear(of_host=change.of_host, settings=change.settings)

    def _event(self, event: ClientEvent) -> None:
        # A limit that changes is the only event that tells of a setting alone.
        settings = event.family == "domain" and event.event_id == DomainEventID.TUNABLE
        self.cache.clear(of_host=False, settings=settings)
        for callback in self.on_event:
            callback(event)


def services_of(table: ProtocolTable, drivers: Iterable[Driver]) -> tuple[str, ...]:
    """Return the processes that answer a daemon's clients, rpcd itself left out."""
    owners = {procedure.owner for procedure in table.procedures() if procedure.owner}
    processes = {driver.process(owner) for driver in drivers for owner in owners}
    return tuple(sorted(processes - {"rpcd"}))


def discard(reply: ClientReply) -> None:
    """Close what a reply carries when its client is no longer connected."""
    for descriptor in (*reply.descriptors, reply.cpu_time_of):
        if descriptor is not None:
            descriptor.close()
    if reply.stream is not None:
        reply.stream.descriptor.close()


async def _fail(error: BusError) -> ClientReply:
    raise error
