"""The admin program: the daemon's servers, their clients and limits, its log and its timeout.

Owns: one method per procedure of `rpc/admin.table`, named as there.
May touch: the servers of this process, their clients; the root, for the log and the timeout.
May not touch: sockets.
Source: libvirt 9.0, admin_server.c, admin_server_dispatch.c; libvirt-admin.h for parameters.
"""

from __future__ import annotations

import asyncio
import grp
import pwd
from collections.abc import Callable, Mapping
from typing import Final, Protocol, TypeVar

import msgspec

from conf.errors import ConfError
from conf.settings import DaemonConfig
from ipc import BusError, Node, Request
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.params import Boolean, Int, ParamType, String, UInt, params, read_params
from rpc.values import AdminClient, AdminServer, TypedParam, TypedValue
from supervisor.messages.root import (
    FetchLogSettings,
    LogSettings,
    SetLogSettings,
    SetTimeout,
)
from supervisor.rpcd.client import ServerClient
from supervisor.rpcd.client_table import ClientTable
from supervisor.rpcd.connect_calls import LIB_VERSION
from supervisor.rpcd.server import Server
from supervisor.rpcd.uri import ConnectTarget

ADMIN_TARGET: Final = ConnectTarget("libvirtd:///system", "")
R = TypeVar("R", bound=msgspec.Struct)
#: virAdmClientTransport
UNIX, TCP, TLS = 0, 1, 2
LIMITS: Final = {"nclients_max": "max_clients", "nclients_unauth_max": "max_anonymous_clients"}


class AdministratingClient(Protocol):
    """What these calls change of the client that makes them."""

    target: ConnectTarget | None

    def start_keepalive(self) -> None:
        """Begin to PING the client when it is silent."""

    def close_after_reply(self) -> None:
        """Close once the reply is sent."""


class AdminCalls:
    """One method per procedure; the first argument is the calling client."""

    def __init__(
        self, node: Node, servers: Mapping[str, Server], config: Callable[[], DaemonConfig]
    ) -> None:
        """Make the calls.

        Args:
            node: with a link to the root.
            servers: of this process, by name; may be filled later.
            config: returns libvirtd.conf, which can be reloaded.
        """
        self._node = node
        self._servers = servers
        self._config = config

    def admin_connect_open(self, client: AdministratingClient, flags: int) -> None:
        """Open the connection.

        Raises:
            VirError: INTERNAL_ERROR when it is open already.
        """
        no_flags(flags, "adminConnectOpen")
        if client.target is not None:
            raise admin_error(ErrorCode.INTERNAL_ERROR, "connection already open")
        client.target = ADMIN_TARGET

    def admin_connect_close(self, client: AdministratingClient) -> None:
        """Close the connection; the socket is closed when the reply is sent."""
        client.close_after_reply()

    def admin_connect_get_lib_version(self, client: AdministratingClient) -> int:
        """Return the libvirt version that this daemon behaves like."""
        return LIB_VERSION

    def admin_connect_list_servers(
        self, client: AdministratingClient, need_results: int, flags: int
    ) -> tuple[list[AdminServer], int]:
        """List the servers."""
        no_flags(flags, "virAdmConnectListServers")
        names = [AdminServer(name) for name in self._servers]
        return (names if need_results else []), len(names)

    def admin_connect_lookup_server(
        self, client: AdministratingClient, name: str, flags: int
    ) -> AdminServer:
        """Look a server up.

        Raises:
            VirError: NO_SERVER.
        """
        no_flags(flags, "virAdmConnectLookupServer")
        self._server(AdminServer(name))
        return AdminServer(name)

    def admin_server_get_threadpool_parameters(
        self, client: AdministratingClient, srv: AdminServer, flags: int
    ) -> list[TypedParam]:
        """Return how many calls run: here they are what threads are to libvirtd.

        Nothing bounds them together, so the most is what all clients may have at a time.
        """
        no_flags(flags, "virAdmServerGetThreadPoolParameters")
        table = self._server(srv).clients
        clients = _clients(table)
        limits = table.limits
        most = min(limits.max_clients * limits.max_client_requests, 2**32 - 1)
        running = sum(each.running_calls for each in clients)
        return params(
            {
                "minWorkers": UInt(0),
                "maxWorkers": UInt(most),
                "nWorkers": UInt(running),
                "freeWorkers": UInt(0),
                "prioWorkers": UInt(0),
                "jobQueueDepth": UInt(sum(each.waiting_calls for each in clients)),
            }
        )

    def admin_server_set_threadpool_parameters(
        self,
        client: AdministratingClient,
        srv: AdminServer,
        parameters: list[TypedParam],
        flags: int,
    ) -> None:
        """Refuse: there is no pool of threads.

        Raises:
            VirError: NO_SERVER; OPERATION_UNSUPPORTED.
        """
        no_flags(flags, "virAdmServerSetThreadPoolParameters")
        self._server(srv)
        detail = "there is no pool of threads: max_client_requests in libvirtd.conf limits calls"
        raise admin_error(ErrorCode.OPERATION_UNSUPPORTED, detail)

    def admin_server_list_clients(
        self, client: AdministratingClient, srv: AdminServer, need_results: int, flags: int
    ) -> tuple[list[AdminClient], int]:
        """List the clients of a server, by their numbers."""
        no_flags(flags, "virAdmServerListClients")
        clients = sorted(_clients(self._server(srv).clients), key=lambda each: each.number)
        rows = [_row(srv, each) for each in clients]
        return (rows if need_results else []), len(rows)

    def admin_server_lookup_client(
        self, client: AdministratingClient, srv: AdminServer, number: int, flags: int
    ) -> AdminClient:
        """Look a client up by its number.

        Raises:
            VirError: NO_SERVER, NO_CLIENT.
        """
        no_flags(flags, "virAdmServerLookupClient")
        return _row(srv, self._client(srv, number))

    async def admin_client_get_info(
        self, client: AdministratingClient, clnt: AdminClient, flags: int
    ) -> list[TypedParam]:
        """Return who a client is.

        Raises:
            VirError: NO_SERVER, NO_CLIENT.
        """
        no_flags(flags, "virAdmClientGetInfo")
        # The names may come from a directory service: not in the event loop.
        return params(await asyncio.to_thread(_info, self._client(clnt.srv, clnt.id)))

    def admin_client_close(
        self, client: AdministratingClient, clnt: AdminClient, flags: int
    ) -> None:
        """Close a client's connection.

        Raises:
            VirError: NO_SERVER, NO_CLIENT.
        """
        no_flags(flags, "virAdmClientClose")
        target = self._client(clnt.srv, clnt.id)
        if target is client:
            client.close_after_reply()
        else:
            target.close()

    def admin_server_get_client_limits(
        self, client: AdministratingClient, srv: AdminServer, flags: int
    ) -> list[TypedParam]:
        """Return how many clients there may be, and are.

        Raises:
            VirError: NO_SERVER.
        """
        no_flags(flags, "virAdmServerGetClientLimits")
        table = self._server(srv).clients
        clients = _clients(table)
        unauthenticated = sum(not each.authentication.is_complete for each in clients)
        return params(
            {
                "nclients_max": UInt(table.limits.max_clients),
                "nclients": UInt(len(clients)),
                "nclients_unauth_max": UInt(table.limits.max_anonymous_clients),
                "nclients_unauth": UInt(unauthenticated),
            }
        )

    def admin_server_set_client_limits(
        self,
        client: AdministratingClient,
        srv: AdminServer,
        parameters: list[TypedParam],
        flags: int,
    ) -> None:
        """Set how many clients there may be, until the next reload of libvirtd.conf.

        Raises:
            VirError: NO_SERVER; INVALID_ARG.
        """
        no_flags(flags, "virAdmServerSetClientLimits")
        table = self._server(srv).clients
        wanted = read_params(parameters, dict.fromkeys(LIMITS, ParamType.UINT))
        changes = {LIMITS[name]: int(values[0]) for name, values in wanted.items()}
        most = changes.get("max_clients", table.limits.max_clients)
        anonymous = changes.get("max_anonymous_clients", table.limits.max_anonymous_clients)
        if most < anonymous:
            detail = (  # libvirt's words, which say the reverse
                "The overall maximum number of clients waiting for authentication must not be "
                "less than the overall maximum number of clients"
            )
            raise admin_error(ErrorCode.INVALID_ARG, detail)
        table.change_limits(max_clients=most, max_anonymous_clients=anonymous)

    async def admin_connect_get_logging_outputs(
        self, client: AdministratingClient, flags: int
    ) -> tuple[str, int]:
        """Return where the log goes."""
        no_flags(flags, "virAdmConnectGetLoggingOutputs")
        outputs = (await self._log()).outputs
        return outputs, len(outputs.split())

    async def admin_connect_get_logging_filters(
        self, client: AdministratingClient, flags: int
    ) -> tuple[str | None, int]:
        """Return the levels of parts of the log."""
        no_flags(flags, "virAdmConnectGetLoggingFilters")
        filters = (await self._log()).filters
        return filters or None, len(filters.split())

    async def admin_connect_set_logging_outputs(
        self, client: AdministratingClient, outputs: str | None, flags: int
    ) -> None:
        """Set where the log goes, until the daemon ends; none: back to the default.

        Raises:
            VirError: INVALID_ARG.
        """
        no_flags(flags, "virAdmConnectSetLoggingOutputs")
        await self._ask_root(SetLogSettings(outputs=outputs or ""))

    async def admin_connect_set_logging_filters(
        self, client: AdministratingClient, filters: str | None, flags: int
    ) -> None:
        """Set the levels of parts of the log, until the daemon ends.

        Raises:
            VirError: INVALID_ARG.
        """
        no_flags(flags, "virAdmConnectSetLoggingFilters")
        await self._ask_root(SetLogSettings(filters=filters or ""))

    async def admin_server_update_tls_files(
        self, client: AdministratingClient, srv: AdminServer, flags: int
    ) -> None:
        """Reread the certificates; on an error the last ones stay.

        Raises:
            VirError: NO_SERVER; INTERNAL_ERROR: it does not listen for TLS clients; SYSTEM_ERROR:
                they cannot be used.
        """
        no_flags(flags, "virAdmServerUpdateTlsFiles")
        server = self._server(srv)
        if not server.listens_for_tls:
            detail = "no tls service found, unable to update tls files"
            raise admin_error(ErrorCode.INTERNAL_ERROR, detail)
        try:
            await server.tls.load(self._config())
        except (ConfError, BusError) as error:
            raise admin_error(ErrorCode.SYSTEM_ERROR, str(error)) from error

    async def admin_connect_set_daemon_timeout(
        self,
        client: AdministratingClient,
        timeout: int,  # noqa: ASYNC109  (the table's name, no deadline)
        flags: int,
    ) -> None:
        """Have the daemon end when it was idle for so many seconds; 0: never."""
        no_flags(flags, "virAdmConnectSetDaemonTimeout")
        await self._ask_root(SetTimeout(seconds=timeout))

    def _server(self, srv: AdminServer) -> Server:
        server = self._servers.get(srv.name)
        if server is None:
            detail = f"No server named '{srv.name}'"
            raise admin_error(ErrorCode.NO_SERVER, detail)
        return server

    def _client(self, srv: AdminServer, number: int) -> ServerClient:
        for client in _clients(self._server(srv).clients):
            if client.number == number:
                return client
        detail = f"No client with matching ID '{number}'"
        raise admin_error(ErrorCode.NO_CLIENT, detail)

    async def _log(self) -> LogSettings:
        return await self._ask_root(FetchLogSettings())

    async def _ask_root(self, request: Request[R]) -> R:
        try:
            return await self._node.control.call(request)
        except BusError as error:
            raise admin_error(ErrorCode.INTERNAL_ERROR, str(error)) from error


def _clients(table: ClientTable) -> list[ServerClient]:
    return [client for client in table.clients if isinstance(client, ServerClient)]


def _row(srv: AdminServer, client: ServerClient) -> AdminClient:
    return AdminClient(srv, client.number, client.connected_at, _transport(client))


def _transport(client: ServerClient) -> int:
    transport = client.transport
    if transport.cipher_bits:
        return TLS
    return TCP if transport.addresses[1] else UNIX


def _info(client: ServerClient) -> dict[str, TypedValue]:
    """Describe a client in the names of libvirt-admin.h."""
    identity = client.authentication.identity
    info: dict[str, TypedValue] = {"readonly": Boolean(client.read_only)}
    remote = client.transport.addresses[1]
    if remote:
        host, _, port = remote.rpartition(";")
        info["sock_addr"] = String(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        if identity.sasl_name:
            info["sasl_user_name"] = String(identity.sasl_name)
        if identity.tls_dn:
            info["tls.x509_dname"] = String(identity.tls_dn)
        return info
    info["unix_user_id"] = Int(identity.uid)
    info["unix_user_name"] = String(_name(lambda: pwd.getpwuid(identity.uid).pw_name, identity.uid))
    info["unix_group_id"] = Int(identity.gid)
    group = _name(lambda: grp.getgrgid(identity.gid).gr_name, identity.gid)
    info["unix_group_name"] = String(group)
    info["unix_process_id"] = Int(identity.pid)
    if identity.selinux_context:
        info["selinux_context"] = String(identity.selinux_context)
    return info


def _name(look_up: Callable[[], str], number: int) -> str:
    try:
        return look_up()
    except KeyError:
        return str(number)


def no_flags(flags: int, function: str) -> None:
    """Refuse any flag.

    Raises:
        VirError: INVALID_ARG.
    """
    if flags:
        detail = f"unsupported flags (0x{flags:x}) in function {function}"
        raise admin_error(ErrorCode.INVALID_ARG, detail)


def admin_error(code: ErrorCode, detail: str) -> VirError:
    """Make an error of the admin program."""
    return VirError(code, detail, ErrorDomain.ADMIN)
