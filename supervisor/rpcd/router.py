"""What all sessions share: the table, the links to the services, the settings in force.

Owns: the set of sessions and the routing of a procedure to its owner.
May touch: services over the bus. May not touch: client sockets.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from conf.settings import DaemonConfig
from ipc import BusError, Descriptor, Node, PeerGone, handles
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.framing import Header, Status
from rpc.table import Procedure, Table
from supervisor.dispatch.errors import no_reply
from supervisor.drivers.driver import Driver
from supervisor.drivers.table import DRIVERS, DriverTable
from supervisor.messages.calls import (
    Client,
    ClientClosed,
    ClientEvent,
    ClientReply,
    ClientRequest,
    InvalidateCache,
    StreamEnd,
)
from supervisor.messages.root import KeepRunning
from supervisor.messages.rpcd import ClientList, ListClients
from supervisor.rpcd.connect_calls import ConnectCalls
from supervisor.rpcd.reply_cache import Key, ReplyCache

#: A call that may copy or write over a whole volume; it ends with its client.
LONG_S: Final = 6 * 3600.0
LONG: Final = frozenset(
    (
        "storage_vol_create_xml", "storage_vol_create_xml_from", "storage_vol_delete",
        "storage_vol_wipe", "storage_vol_wipe_pattern", "storage_vol_resize", "storage_pool_build",
        "storage_pool_create", "storage_pool_create_xml",
    )
)  # fmt: skip

log = logging.getLogger(__name__)


class ClientHandle(Protocol):
    """What the front needs of a session."""

    identifier: str
    authenticated: bool

    def deliver(self, event: ClientEvent) -> None:
        """Send an event if the client asked for it."""

    def close(self) -> None:
        """Hang up now."""


class Router:
    """The shared part of rpcd; one instance a process."""

    def __init__(
        self,
        node: Node,
        table: Table,
        config: DaemonConfig,
        *,
        session: bool,
        drivers: DriverTable = DRIVERS,
    ) -> None:
        """Link to the services and check that every own call has its method."""
        self.config = config
        self.session = session
        self.clients: set[ClientHandle] = set()
        self.on_client_closed: list[Callable[[], None]] = []  # called when a session has ended
        self._node = node
        self._table = table
        self._drivers = drivers
        services = services_of(table, drivers.of_daemon(session=session))
        self._links = {name: node.link(name) for name in services}
        self._local = local_calls(table, ConnectCalls())
        self._instance = os.urandom(6).hex()
        self._count = 0
        self.cache = ReplyCache()
        for service in services:  # each of them tells clients of something
            node.subscribe(service, ClientEvent, self._event)
            node.subscribe(service, InvalidateCache, self._invalidate_cache)
        node.on_peer_lost.append(lambda _: self.cache.clear())

    def is_trusted(self, uid: int, *, read_only: bool) -> bool:
        """Whether the socket's permissions alone are enough for this user."""
        scheme = self.config.auth_unix_ro if read_only else self.config.auth_unix_rw
        return scheme == "none" or uid == 0 or (self.session and uid == os.getuid())

    def may_connect(self, uid: int, *, read_only: bool) -> bool:
        """Whether a client may come in: of those whom nobody has vouched for, there may be few."""
        if self.is_trusted(uid, read_only=read_only):
            return True
        anonymous = sum(not session.authenticated for session in self.clients)
        return anonymous < self.config.max_anonymous_clients

    def next_identifier(self) -> str:
        """Name a new session: unique in this process's life and across restarts."""
        self._count += 1
        return f"{self._instance}-{self._count}"

    def procedure(self, header: Header) -> Procedure:
        """Find what a call asks for.

        Raises:
            VirError: RPC, in stock's words, for what cannot be called.
        """
        program = self._table.program(header.program)
        if program is None or program.version != header.version:
            detail = f"Cannot find program {header.program} version {header.version}"
            raise VirError(ErrorCode.RPC, detail, ErrorDomain.RPC)
        procedure = program.procedure(header.procedure)
        if procedure is None or procedure.kind == "event":
            detail = f"unknown procedure: {header.procedure}"
            raise VirError(ErrorCode.RPC, detail, ErrorDomain.RPC)
        if header.status != Status.OK:
            detail = f"Unexpected message status {header.status}"
            raise VirError(ErrorCode.RPC, detail, ErrorDomain.RPC)
        return procedure

    def event(self, name: str) -> Procedure:
        """Find an event's message by its name."""
        return self._table.named(name)

    def local(self, procedure: Procedure) -> Callable[..., object]:
        """Find the method that answers a procedure of our own."""
        return self._local[procedure.name]

    def process_for(self, procedure: Procedure, driver: str) -> str:
        """The process that answers a call on connections to a driver."""
        owner = str(procedure.owner)
        return self._drivers[driver].process(owner)

    async def invoke(
        self, procedure: Procedure, payload: bytes, client: Client, descriptors: list[Descriptor]
    ) -> ClientReply:
        """Have a call answered by its owner.

        A query that the owner's death cut short is asked once more; a change is not, for nobody
        knows how far it came.

        Raises:
            VirError: the owner's refusal; RPC when it died; OPERATION_TIMEOUT when it is silent.
        """
        request = ClientRequest(
            program=procedure.program,
            procedure=procedure.number,
            payload=payload,
            client=client,
            descriptors=descriptors,
        )
        owner = self.process_for(procedure, client.driver)
        link = self._links[owner]
        generation = self.cache.generation
        try:
            limit = LONG_S if procedure.name in LONG else None
            try:
                answer = await link.call(request, deadline_s=limit)
            except PeerGone:
                if not procedure.read_only:
                    raise
                generation = self.cache.generation
                answer = await link.call(request, deadline_s=limit)
        except BusError as error:
            raise no_reply(owner, procedure.name, error) from error
        if answer.cacheable:
            self.cache.put(cache_key(procedure, payload, client.driver), answer.payload, generation)
        return answer

    async def end_stream(self, process: str, token: str, aborted: bool) -> None:  # noqa: FBT001
        """Ask the process that a stream is of how its side went.

        Raises:
            VirError: its side failed.
        """
        link = self._links[process]
        try:
            await link.call(StreamEnd(token=token, aborted=aborted))
        except BusError as error:
            detail = f"the stream's service did not confirm its end: {error}"
            raise VirError(ErrorCode.RPC, detail, ErrorDomain.STREAMS) from error

    def add(self, session: ClientHandle) -> None:
        """A session has begun."""
        self.clients.add(session)
        if len(self.clients) == 1:
            self._node.control.send(KeepRunning(busy=True, why="clients are connected"))

    def remove(self, session: ClientHandle) -> None:
        """A session has ended."""
        self.clients.discard(session)
        self._node.publish(ClientClosed(client=session.identifier))
        if not self.clients:
            self._node.control.send(KeepRunning(busy=False, why="no client is connected"))
        for callback in self.on_client_closed:
            callback()

    @handles(ListClients)
    def list_clients(self, _: ListClients) -> ClientList:
        """Tell who is there."""
        return ClientList(identifiers=[session.identifier for session in self.clients])

    def _invalidate_cache(self, _: InvalidateCache) -> None:
        self.cache.clear()

    def _event(self, event: ClientEvent) -> None:
        for session in list(self.clients):
            session.deliver(event)


def cache_key(procedure: Procedure, payload: bytes, driver: str) -> Key:
    """What makes two calls the same for everybody who may make them."""
    return procedure.program, procedure.number, driver, payload


def services_of(table: Table, drivers: Iterable[Driver]) -> tuple[str, ...]:
    """Return the processes that answer a daemon's clients, rpcd itself left out."""
    owners = {procedure.owner for procedure in table.procedures() if procedure.owner}
    processes = {driver.process(owner) for driver in drivers for owner in owners}
    return tuple(sorted(processes - {"rpcd"}))


def discard(answer: ClientReply) -> None:
    """Close what an answer carries when its client is no longer there."""
    for descriptor in answer.descriptors:
        descriptor.close()
    if answer.stream is not None:
        answer.stream.descriptor.close()


def local_calls(table: Table, target: ConnectCalls) -> dict[str, Callable[..., object]]:
    """Find the method of each procedure of our own.

    Raises:
        SystemExit: the table names a procedure that has no method.
    """
    found = {}
    for procedure in table.procedures():
        if procedure.owner == "rpcd":
            method = getattr(target, procedure.name, None)
            if method is None:
                raise SystemExit(f"rpcd: the table gives it {procedure.name}, which has no method")
            found[procedure.name] = method
    return found
