"""Requests and events to authd: SASL conversations, polkit. Sent by rpcd."""

from __future__ import annotations

import msgspec

from ipc import Ack, Descriptor, Request


class SaslPeer(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A client that is to authenticate by SASL, as its transport knows it."""

    id: str  # of the client
    name: str  # for log lines
    local: str = ""  # "ADDRESS;PORT"; "": a Unix socket
    remote: str = ""
    is_protected: bool = False  # TLS or a Unix socket
    external_ssf: int = 0  # bits of TLS's cipher
    external_name: str = ""  # the name in its certificate


class SaslMechanisms(msgspec.Struct, frozen=True, kw_only=True):
    """The mechanisms that are open to a client."""

    names: list[str]


class SaslReply(msgspec.Struct, frozen=True, kw_only=True):
    """The server's message in a conversation."""

    data: bytes | None
    is_complete: bool = False
    username: str = ""  # of a complete one
    ssf: int = 0  # bits of the security layer that all later bytes pass through; 0: none


class ListMechanisms(Request[SaslMechanisms], frozen=True, kw_only=True, tag="authd.mechanisms"):
    """List the mechanisms that are open to a client; the same for all that are as protected.

    Errors: AUTH_FAILED: SASL is not available here, or no mechanism is strong enough.
    """

    deadline_s = 20.0
    peer: SaslPeer
    min_ssf: int  # demanded of a layer where the client is not protected


class StartSasl(Request[SaslReply], frozen=True, kw_only=True, tag="authd.start_sasl"):
    """Begin a conversation with the client's choice of a mechanism; an earlier one of it ends.

    Errors: AUTH_FAILED: the client is refused, and the conversation has ended; or there are too
    many.
    """

    deadline_s = 30.0  # the user's record may be in a database, or with a KDC
    peer: SaslPeer
    mechanism: str
    data: bytes | None


class StepSasl(Request[SaslReply], frozen=True, kw_only=True, tag="authd.step_sasl"):
    """Take a further message of the client. Errors: as `StartSasl`."""

    deadline_s = 30.0
    id: str
    data: bytes | None


class SaslLayer(msgspec.Struct, frozen=True, kw_only=True):
    """The plain side of a security layer."""

    plain: Descriptor


class OpenSaslLayer(Request[SaslLayer], frozen=True, kw_only=True, tag="authd.open_sasl_layer"):
    """Take a client's socket over, and copy between it and a socket without the layer.

    Errors: INTERNAL_ERROR: the conversation is not complete.
    """

    deadline_s = 10.0
    id: str
    client: Descriptor


class CheckPolkit(Request[Ack], frozen=True, kw_only=True, tag="authd.check_polkit"):
    """Ask polkit whether a client may do something; it may ask the user.

    Errors: AUTH_FAILED: it may not; AUTH_CANCELLED: the user gave up; AUTH_UNAVAILABLE: the user
    must be asked, and has no agent for it.
    """

    deadline_s = 130.0  # the user types a password; polkit's agents wait 2 minutes for it
    name: str  # of the client, for log lines
    pid: int
    uid: int
    action: str


class PolkitAction(msgspec.Struct, frozen=True, array_like=True):
    """An action of polkit, on an object."""

    id: str
    details: dict[str, str]


class AllowedActions(msgspec.Struct, frozen=True, kw_only=True):
    """Which of the actions polkit allows, in their order."""

    allowed: list[bool]


class CheckActions(Request[AllowedActions], frozen=True, kw_only=True, tag="authd.check_actions"):
    """Ask polkit which of some actions a process may do; no user is asked. Sent by every service.

    Errors: AUTH_FAILED: polkit does not answer, or the process has ended.
    """

    deadline_s = 15.0
    pid: int
    started: int  # clock ticks after the boot; 0: read it now
    uid: int
    actions: list[PolkitAction]
