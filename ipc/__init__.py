"""The bus: typed calls, events and descriptors between the daemon's processes. A library."""

from ipc.blocking import BlockingServer, Unfinished
from ipc.context import CallContext, current_call, new_trace, trace
from ipc.descriptor import Descriptor
from ipc.errors import (
    BusError,
    DeadlineExceeded,
    ErrorCodec,
    HandlerFailed,
    NoHandler,
    NoSuchService,
    PeerGone,
    ProtocolError,
    QueueFull,
)
from ipc.handlers import StandaloneEndpoint, prepare_messages
from ipc.link import Link
from ipc.messages import Ack, Connect, Event, LinkGranted, LinkOffer, Request, Subscribe, handles
from ipc.node import Node
from ipc.peer import Peer
from ipc.switchboard import Switchboard

__all__ = [
    "Ack",
    "BlockingServer",
    "BusError",
    "CallContext",
    "Connect",
    "DeadlineExceeded",
    "Descriptor",
    "ErrorCodec",
    "Event",
    "HandlerFailed",
    "Link",
    "LinkGranted",
    "LinkOffer",
    "NoHandler",
    "NoSuchService",
    "Node",
    "Peer",
    "PeerGone",
    "ProtocolError",
    "QueueFull",
    "Request",
    "StandaloneEndpoint",
    "Subscribe",
    "Switchboard",
    "Unfinished",
    "current_call",
    "handles",
    "new_trace",
    "prepare_messages",
    "trace",
]  # fmt: skip
