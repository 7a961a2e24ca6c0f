"""authd: entry point of the service that authenticates clients for rpcd.

Owns: SASL conversations, questions to polkit, the host's announcement by mDNS.
May touch: the files of SASL's users and keys, the system's D-Bus. May not touch: guests, domains.

rpcd parses clients' bytes as nobody and may read no password; what needs more is asked of here.
A daemon whose sockets demand no authentication, and that is not announced, runs without it.
"""

from __future__ import annotations

import logging
import socket

from supervisor.authd.mdns import Announcer, service_of
from supervisor.authd.polkit import PolkitCalls
from supervisor.authd.polkit_actions import PolkitActions
from supervisor.authd.sasl import SaslCalls
from supervisor.messages.calls import ClientClosed
from supervisor.runtime.child import ChildProcess

log = logging.getLogger(__name__)


async def run(process: ChildProcess) -> None:
    """Run the service until the process is asked to stop."""
    announcer = Announcer()

    def announce() -> None:
        announcer.announce(service_of(process.config, process.tls_port, socket.gethostname()))

    sasl = SaslCalls(lambda: process.config, process.paths.root)
    process.node.serve(sasl)
    polkit, actions = PolkitCalls(), PolkitActions()
    process.node.serve(polkit)
    process.node.serve(actions)

    def renew() -> None:
        if polkit.is_idle and actions.is_idle:
            log.info("authd is renewed: what libsasl2 has lost of its memory comes back")
            process.stopping.set()

    sasl.on_worn_out = renew
    process.node.subscribe("rpcd", ClientClosed, sasl.client_closed)
    process.node.on_peer_lost.append(sasl.client_process_lost)
    if not process.session:
        process.on_reload.append(announce)
        announce()
    await process.ready()
    await process.stopping.wait()
    announcer.close()
    sasl.close()
    await actions.close()
