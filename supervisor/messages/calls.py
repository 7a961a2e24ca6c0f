"""Client calls from rpcd to the services and back, and events for clients.

Receivers of requests: every service that owns procedures. Receiver of events: rpcd.
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
    groups: tuple[int, ...] = ()  # further ones than gid, by SO_PEERGROUPS
    process_time: int = 0  # when that process started, in clock ticks after the boot; 0: unknown


class Client(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The connection that a call came by."""

    id: str  # unique over all lives of rpcd
    identity: Identity
    read_only: bool
    uri: str  # the one it opened, in full
    driver: str  # `Driver.name`
    session: bool = False  # a daemon of one user
    #: Who it is itself, where it stands for the identity above (CONNECT_SET_IDENTITY).
    proven: Identity | None = None


class Stream(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The service's side of a virStream; rpcd copies its bytes and closes the descriptor.

    With a token, rpcd sends `StreamEnd` to the owner when the client finishes or aborts it.
    """

    descriptor: Descriptor
    token: str = ""
    sparse: bool = False  # the descriptor carries records (`messages.sparse_stream`)


class ClientReply(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The reply for the client; rpcd closes the descriptors once they are sent."""

    payload: bytes  # XDR of the result
    descriptors: list[Descriptor] = msgspec.field(default_factory=list)
    stream: Stream | None = None
    cacheable: bool = (
        False  # rpcd may repeat it for the same call until an event or `InvalidateCache`
    )
    #: With a cacheable reply: it is about the host alone. Only an `InvalidateCache` that says so
    #: outdates it, no change of a guest does.
    of_host: bool = False
    #: With a cacheable reply: it depends on which objects there are and on their state, and not on
    #: their settings. An `InvalidateCache` that says that only these have changed does not outdate
    #: it.
    of_state: bool = False
    #: Of a cacheable reply: open /proc/PID/stat. The payload ends with the CPU time (8 bytes, ns)
    #: of that process, which rpcd reads anew for each repetition.
    cpu_time_of: Descriptor | None = None
    #: With a cacheable reply: arguments and replies of the same procedure, as cacheable, that the
    #: client is likely to ask for next.
    readahead: list[tuple[bytes, bytes]] = msgspec.field(default_factory=list)


class ClientRequest(Request[ClientReply], frozen=True, kw_only=True, tag="calls.client_request"):
    """Handle a client's call; sent by rpcd, and forwarded by domd to a worker.

    Errors: any `VirError`. The receiver closes the descriptors.
    """

    deadline_s = 120.0  # services' own limits are shorter, but for the procedures that run long
    program: int
    procedure: int
    payload: bytes  # XDR of the arguments
    client: Client
    descriptors: list[Descriptor] = msgspec.field(default_factory=list)


class CheckAccess(Request[Ack], frozen=True, kw_only=True, tag="calls.check_access"):
    """Check whether a client may see an object that an event is about, which may be gone by now.

    Sent by rpcd to the object's owner. Errors: ACCESS_DENIED.
    """

    deadline_s = 20.0
    client: Client
    permission: tuple[str, str]  # type of object and name
    uuid: bytes = b""  # of the object; b"": its type has none
    name: str = ""


class AccessQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """What virtvisorctl asks about access control."""

    identity: Identity
    driver: str  # `Driver.name` of the connection
    call: str = ""  # a procedure, or
    permission: str = ""  # one permission, "domain.start"
    object: str = ""  # name or UUID; of a volume POOL/VOLUME, of a port NETWORK/UUID


class ExplainedPermission(msgspec.Struct, frozen=True, kw_only=True):
    """One permission that a call needs, and who says what about it."""

    permission: str
    when: str = ""  # with which arguments it is needed; "": always
    allowed: bool | None = None  # None: only a running client can be asked about
    reasons: list[str] = []


class AccessExplanation(msgspec.Struct, frozen=True, kw_only=True):
    """The answer."""

    object: str  # as the log calls it
    exists: bool
    permissions: list[ExplainedPermission] = []


class ExplainAccess(
    Request[AccessExplanation], frozen=True, kw_only=True, tag="calls.explain_access"
):
    """Explain what access control says to a call; sent by the root for virtvisorctl."""

    deadline_s = 5.0
    question: AccessQuestion


class StreamEnd(Request[Ack], frozen=True, kw_only=True, tag="calls.stream_end"):
    """End the service's side of a stream with a token: the client's side has ended.

    Errors: any `VirError`, where the service's side failed.
    """

    deadline_s = 30.0
    token: str
    aborted: bool


class ClientClosed(Event, frozen=True, kw_only=True, tag="calls.client_closed"):
    """A connection is closed whose client has called services; when rpcd is lost, all are."""

    client: str  # `Client.id`


class MonitorEvent(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What the message of a QEMU's own event says beside the domain's UUID and the event's name."""

    domain: str  # its name
    id: int
    seconds: int  # since the epoch, by QEMU's clock
    microseconds: int
    details: str | None  # JSON


class ClientEvent(Event, frozen=True, kw_only=True, tag="calls.client_event"):
    """An event for the clients that registered for it; domd forwards those of workers.

    rpcd drops all cached replies: an event tells of a change.
    """

    family: str  # "domain", "network", "storage_pool", "node_device", "secret", "qemu_monitor"
    event_id: int  # the family's; -1 for "qemu_monitor"
    driver: str  # whose clients see it (`Driver.name`); "": the clients of every driver
    uuid: bytes  # of the object, 16 bytes
    name: str = ""  # of a monitor's event
    payload: bytes  # XDR of the callback's message after its callback number
    #: Of a monitor's event, for which rpcd makes the payload when a client wants it: hardly any
    #: does, and every guest has many of them.
    monitor: MonitorEvent | None = None


class InvalidateCache(Event, frozen=True, kw_only=True, tag="calls.invalidate_cache"):
    """Drop all cached replies: something changed of which no `ClientEvent` tells.

    A service publishes it before it replies to the call that made the change.
    """

    of_host: bool = False  # also those that are about the host alone
    settings: bool = False  # not those that are `of_state`: a setting of an object has changed
