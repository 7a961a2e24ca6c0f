"""A client's call on its way from rpcd to its owner and back; what goes back to clients unasked.

Owns: the messages' shapes. Receivers: every service that owns procedures; rpcd for the events.
"""

from __future__ import annotations

import msgspec

from ipc import Ack, Descriptor, Event, Request


class Identity(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Who a client is, as its transport and its authentication proved (libvirt: virIdentity)."""

    uid: int = -1  # uid, gid and pid by SO_PEERCRED; -1: not a Unix socket
    gid: int = -1
    pid: int = -1
    sasl_name: str = ""  # of a SASL authentication
    tls_dn: str = ""  # the distinguished name of a client certificate
    selinux_context: str = ""  # by SO_PEERSEC; "": no SELinux


class Client(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The connection that a call came by."""

    id: str  # unique over all lives of rpcd
    identity: Identity
    read_only: bool
    uri: str  # the one it opened, in full
    driver: str  # `Driver.name`
    session: bool = False  # a daemon of one user


class Stream(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Where a stream's bytes come from or go to; rpcd pumps them and closes the descriptor.

    With a token, rpcd sends `StreamEnd` to the owner when the client finishes or aborts it.
    """

    descriptor: Descriptor
    token: str = ""
    sparse: bool = False  # the descriptor carries records of data and holes (`messages.records`)


class ClientReply(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What the client gets: the encoded result, and what goes with it. rpcd closes descriptors."""

    payload: bytes
    descriptors: list[Descriptor] = msgspec.field(default_factory=list)
    stream: Stream | None = None
    cacheable: bool = False  # rpcd may answer the same call with it until `InvalidateCache` comes


class ClientRequest(Request[ClientReply], frozen=True, kw_only=True, tag="calls.invoke"):
    """rpcd to a procedure's owner (and domd to a worker): answer a client's call.

    Errors: any `VirError`. Descriptors are the receiver's to close.
    """

    deadline_s = 120.0  # services' own limits are shorter, but for the procedures that run long
    program: int
    procedure: int
    payload: bytes  # XDR of the arguments
    client: Client
    descriptors: list[Descriptor] = msgspec.field(default_factory=list)


class StreamEnd(Request[Ack], frozen=True, kw_only=True, tag="calls.stream_end"):
    """rpcd to the owner of a stream that had a token: the client's side is over.

    Errors: any `VirError`, when the service's side failed.
    """

    deadline_s = 30.0
    token: str
    aborted: bool


class ClientClosed(Event, frozen=True, kw_only=True, tag="calls.client_closed"):
    """rpcd to its subscribers: a client has gone. A lost rpcd closes all its clients."""

    client: str  # `Client.id`


class ClientEvent(Event, frozen=True, kw_only=True, tag="calls.event"):
    """An owner to rpcd (a worker's by way of domd): tell the clients that registered for it."""

    family: str  # "domain", "network", "storage_pool", "node_device", "secret", "qemu_monitor"
    event_id: int  # the family's; -1 for "qemu_monitor"
    driver: str  # whose clients see it (`Driver.name`); "": the clients of every driver
    uuid: bytes  # of the object, 16 bytes
    name: str = ""  # of a monitor's event
    payload: bytes  # XDR of the callback's message after its callback number


class InvalidateCache(Event, frozen=True, kw_only=True, tag="calls.stale"):
    """A service to rpcd: something has changed, no answer that was kept holds any more.

    It is published before the change is acknowledged to anybody.
    """
