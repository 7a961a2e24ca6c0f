"""The bus: typed calls, events and descriptors between processes. Imports nothing of ours."""

from ipc.context import Caller, caller, new_trace, trace
from ipc.descriptor import Descriptor
from ipc.errors import (
    BusError,
    DeadlineExceeded,
    ErrorCodec,
    NoSuchService,
    PeerGone,
    ProtocolError,
    QueueFull,
    Unexpected,
    Unhandled,
)
from ipc.handlers import Bare, prepare_messages
from ipc.link import Link
from ipc.messages import Connect, Connected, Done, Event, Incoming, Request, Subscribe, handles
from ipc.node import Node
from ipc.peer import Peer
from ipc.switchboard import Switchboard

__all__ = [
    "Bare", "BusError", "Caller", "Connect", "Connected", "DeadlineExceeded", "Descriptor", "Done",
    "ErrorCodec", "Event", "Incoming", "Link", "NoSuchService", "Node", "Peer", "PeerGone",
    "ProtocolError", "QueueFull", "Request", "Subscribe", "Switchboard", "Unexpected", "Unhandled",
    "caller", "handles", "new_trace", "prepare_messages", "trace",
]  # fmt: skip
