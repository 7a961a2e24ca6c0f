"""authd: entry point of the service that authenticates clients for rpcd.

Owns: SASL conversations and questions to polkit.
May touch: the files of SASL's users and keys, the system's D-Bus. May not touch: guests, domains.

rpcd parses clients' bytes as nobody and may read no password; what needs more is asked of here.
A daemon whose sockets demand no authentication runs without it.
"""

from __future__ import annotations

from supervisor.authd.polkit import PolkitCalls
from supervisor.authd.sasl import SaslCalls
from supervisor.messages.calls import ClientClosed
from supervisor.runtime.child import ChildProcess


async def run(process: ChildProcess) -> None:
    """Run the service until the process is asked to stop."""
    sasl = SaslCalls(lambda: process.config, process.paths.root)
    process.node.serve(sasl)
    process.node.serve(PolkitCalls())
    process.node.subscribe("rpcd", ClientClosed, sasl.client_closed)
    process.node.on_peer_lost.append(sasl.client_process_lost)
    await process.ready()
    await process.stopping.wait()
    sasl.close()
