"""Accepts TLS clients: certificates, handshakes under way, names that are allowed.

Owns: the TLS context and the handshakes. May touch: the root, for the certificates.
May not touch: what clients send after their handshake.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable

from conf.errors import ConfError
from conf.settings import DaemonConfig
from conf.tls_priority import parse_priority
from ipc import BusError, Node
from rpc.errors import VirError
from supervisor.messages.root import FetchTlsFiles
from supervisor.rpcd.transport.tls import TlsTransport
from supervisor.rpcd.transport.tls_context import is_allowed_dn, server_context
from supervisor.rpcd.transport.transport import Transport

log = logging.getLogger(__name__)


class TlsAcceptor:
    """The TLS side of one server."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._context: ssl.SSLContext | None = None
        self._allowed_dns: list[str] = []
        self.pending: set[TlsTransport] = set()

    async def load(self, config: DaemonConfig) -> None:
        """Fetch the certificates and apply libvirtd.conf; on an error the last ones stay.

        Raises:
            ConfError, VirError, BusError: why they cannot be used.
        """
        files = await self._node.control.call(FetchTlsFiles())
        priority = parse_priority(config.tls_priority)
        verify = not config.tls_no_verify_certificate
        self._context = server_context(files, priority, verify=verify)
        self._allowed_dns = config.tls_allowed_dn_list if verify else []

    async def reload(self, config: DaemonConfig) -> None:
        """Load again after a SIGHUP; what is wrong is logged, and the last certificates stay."""
        try:
            await self.load(config)
        except (ConfError, VirError, BusError) as error:
            log.error("the TLS certificates are not reloaded: %s", error)
        else:
            log.info("the TLS certificates are reloaded")

    def accept(self, inner: Transport, on_accepted: Callable[[Transport], None]) -> None:
        """Do the handshake with a client that has connected.

        Args:
            inner: its connection.
            on_accepted: called if its certificate is accepted.
        """
        if self._context is None:
            log.error("client %s is closed: there are no TLS certificates", inner.name)
            inner.close()
            return
        transport = TlsTransport(inner, self._context)
        self.pending.add(transport)

        def done() -> None:
            self.pending.discard(transport)
            dn = transport.identity.tls_dn
            if not is_allowed_dn(dn, self._allowed_dns):
                log.warning(
                    "client %s is closed: its certificate's name %r is not in tls_allowed_dn_list",
                    *(transport.name, dn),
                )
                transport.close()
                return
            on_accepted(transport)

        transport.handshake(done, lambda: self.pending.discard(transport))

    def close(self) -> None:
        """Close the handshakes under way."""
        for transport in list(self.pending):
            transport.close()
