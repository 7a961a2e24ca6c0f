"""The connection calls that rpcd answers itself: open, close, features, event callbacks.

Owns: one method per procedure with `owner=rpcd` in the table, named as there.
May touch: the client that calls. May not touch: sockets, other clients, the bus.
Source: protocol/features_9_0.md.
"""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.features import Feature
from rpc.params import declared, read_params
from rpc.values import Domain, Network, Secret, StoragePool, TypedParam
from supervisor.drivers.table import DRIVERS
from supervisor.messages.calls import Identity
from supervisor.rpcd.event_callbacks import EventCallbacks
from supervisor.rpcd.uri import ConnectTarget, select_driver

LIB_VERSION: Final = 9_000_000  # the libvirt whose behaviour clients may expect: 9.0.0
OPEN_READ_ONLY: Final = 1
#: The parameters of CONNECT_SET_IDENTITY, and the fields of `Identity` that they set; "": none,
#: for the numbers beside them say the same.
IDENTITY: Final = {
    "user-name": "",
    "unix-user-id": "uid",
    "group-name": "",
    "unix-group-id": "gid",
    "process-id": "pid",
    "process-time": "process_time",
    "sasl-user-name": "sasl_name",
    "x509-distinguished-name": "tls_dn",
    "selinux-context": "selinux_context",
}


class CallingClient(Protocol):
    """What these calls may see and change of the client that makes them."""

    target: ConnectTarget | None  # what has been opened
    read_only: bool
    is_session_daemon: bool
    is_secure: bool
    close_callback: bool
    callbacks: EventCallbacks

    @property
    def identity(self) -> Identity:
        """Who the client is for services."""

    def claim_identity(self, identity: Identity) -> None:
        """Tell services from now on that the client is somebody else; its rights stay."""

    def start_keepalive(self) -> None:
        """Begin to PING the client when it is silent."""

    def close_after_reply(self) -> None:
        """Close once the reply is sent."""


class ConnectCalls:
    """One method per procedure; the first argument is the calling client."""

    def connect_open(self, client: CallingClient, name: str | None, flags: int) -> None:
        """Open a connection to a driver.

        Raises:
            VirError: INTERNAL_ERROR when open already, NO_CONNECT for a URI of no driver.
        """
        if client.target is not None:
            raise rpc_error(ErrorCode.INTERNAL_ERROR, "connection already open")
        if name is None:
            return  # libvirtd succeeds and opens nothing
        client.target = select_driver(name, session=client.is_session_daemon)
        client.read_only = client.read_only or bool(flags & OPEN_READ_ONLY)

    def connect_close(self, client: CallingClient) -> None:
        """Close the connection; the socket is closed when the reply is sent."""
        client.callbacks.clear()
        client.close_after_reply()

    def connect_set_identity(
        self, client: CallingClient, params: list[TypedParam], flags: int
    ) -> None:
        """Have the client stand for somebody else, as a proxy does for its own clients.

        It gains the client nothing: a permission must be the other's and its own. What is not
        said of the other is unknown. libvirt ignores the flags.

        Raises:
            VirError: ARGUMENT_UNSUPPORTED, INVALID_ARG: other parameters.
        """
        values = read_params(params, declared(*IDENTITY))
        changed = {IDENTITY[name]: given[-1] for name, given in values.items() if IDENTITY[name]}
        client.claim_identity(msgspec.structs.replace(Identity(), **changed))

    def connect_get_uri(self, client: CallingClient) -> str:
        """Return the URI that was opened."""
        assert client.target is not None, "access checks refuse this call before CONNECT_OPEN"
        return client.target.uri

    def connect_get_lib_version(self, client: CallingClient) -> int:
        """Return the libvirt version that this daemon behaves like: 9.0.0 is 9000000."""
        return LIB_VERSION

    def connect_is_secure(self, client: CallingClient) -> int:
        """Return whether the client's transport is safe from eavesdroppers."""
        return int(client.is_secure)

    def connect_supports_feature(self, client: CallingClient, feature: int) -> int:
        """Return whether the daemon has a protocol feature; a query for 10 turns PINGs on."""
        if feature == Feature.PROGRAM_KEEPALIVE:
            client.start_keepalive()
        # Clients ask before they open a URI, too: the answers are those of the default driver then.
        driver = DRIVERS[client.target.driver] if client.target else next(iter(DRIVERS))
        return int(feature in driver.features)

    def connect_register_close_callback(self, client: CallingClient) -> None:
        """Register for the loss of the driver's own connection.

        Raises:
            VirError: OPERATION_INVALID when registered already.
        """
        if client.close_callback:
            raise rpc_error(ErrorCode.OPERATION_INVALID, "a close callback is registered already")
        client.close_callback = True

    def connect_unregister_close_callback(self, client: CallingClient) -> None:
        """Remove the close callback.

        Raises:
            VirError: OPERATION_INVALID when none is registered.
        """
        if not client.close_callback:
            raise rpc_error(ErrorCode.OPERATION_INVALID, "no close callback is registered")
        client.close_callback = False

    def connect_domain_event_register(self, client: CallingClient) -> int:
        """Register for lifecycle events (legacy, no number); returns how many are registered."""
        client.callbacks.add("domain", 0, None, legacy=True)
        return 1

    def connect_domain_event_deregister(self, client: CallingClient) -> int:
        """Remove the lifecycle callback; returns how many are left."""
        client.callbacks.remove_legacy(0)
        return 0

    def connect_domain_event_register_any(self, client: CallingClient, event_id: int) -> None:
        """Register for one domain event (legacy, no callback number)."""
        client.callbacks.add("domain", event_id, None, legacy=True)

    def connect_domain_event_deregister_any(self, client: CallingClient, event_id: int) -> None:
        """Remove the legacy callback of a domain event."""
        client.callbacks.remove_legacy(event_id)

    def connect_domain_event_callback_register_any(
        self, client: CallingClient, event_id: int, dom: Domain | None
    ) -> int:
        """Register for an event of one domain or all; returns the callback number."""
        return client.callbacks.add("domain", event_id, dom.uuid if dom else None)

    def connect_domain_event_callback_deregister_any(
        self, client: CallingClient, number: int
    ) -> None:
        """Remove a callback."""
        client.callbacks.remove(number, ("domain",))

    def connect_domain_monitor_event_register(
        self, client: CallingClient, dom: Domain | None, event: str | None, flags: int
    ) -> int:
        """Register for QMP events of one domain or all, by name or pattern."""
        return client.callbacks.add_monitor(dom.uuid if dom else None, event, flags)

    def connect_domain_monitor_event_deregister(self, client: CallingClient, number: int) -> None:
        """Remove a callback for QMP events."""
        client.callbacks.remove(number, ("qemu_monitor",))

    def connect_network_event_register_any(
        self, client: CallingClient, event_id: int, net: Network | None
    ) -> int:
        """Register for an event of one network or all; returns the callback number."""
        return client.callbacks.add("network", event_id, net.uuid if net else None)

    def connect_network_event_deregister_any(self, client: CallingClient, callback_id: int) -> None:
        """Remove a callback."""
        client.callbacks.remove(callback_id, ("network",))

    def connect_storage_pool_event_register_any(
        self, client: CallingClient, event_id: int, pool: StoragePool | None
    ) -> int:
        """Register for an event of one pool or all; returns the callback number."""
        return client.callbacks.add("storage_pool", event_id, pool.uuid if pool else None)

    def connect_storage_pool_event_deregister_any(
        self, client: CallingClient, callback_id: int
    ) -> None:
        """Remove a callback."""
        client.callbacks.remove(callback_id, ("storage_pool",))

    def connect_secret_event_register_any(
        self, client: CallingClient, event_id: int, secret: Secret | None
    ) -> int:
        """Register for an event of one secret or all; returns the callback number."""
        return client.callbacks.add("secret", event_id, secret.uuid if secret else None)

    def connect_secret_event_deregister_any(self, client: CallingClient, callback_id: int) -> None:
        """Remove a callback."""
        client.callbacks.remove(callback_id, ("secret",))


def rpc_error(code: ErrorCode, detail: str) -> VirError:
    """Make an error of the connection itself."""
    return VirError(code, detail, ErrorDomain.RPC)
