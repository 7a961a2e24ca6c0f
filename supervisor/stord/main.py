"""stord: storage pools and their volumes.

Owns: pools' definitions, which pools are active, what is known of their volumes.
May touch: pools' folders, devices and servers, but only by processes of each pool's own
(`supervisor.stord.work`) and the host's storage programs, never by itself: it may never block.
May not touch: guests, networks, client sockets.
Runs with: files, and what mounting and block devices take.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

from supervisor.dispatch.dispatcher import Dispatcher
from supervisor.dispatch.events import KeepRunningVote, Publisher
from supervisor.messages.calls import ClientClosed
from supervisor.runtime.child import ChildProcess
from supervisor.stord import recovery
from supervisor.stord.backends.table import DEFINED_ONLY, KINDS
from supervisor.stord.calls.lifecycle import Lifecycle
from supervisor.stord.calls.query import Queries
from supervisor.stord.calls.transfer import Transfers
from supervisor.stord.calls.volume import Volumes
from supervisor.stord.calls.volume_query import VolumeQueries
from supervisor.stord.client_tasks import RPCD, Clients
from supervisor.stord.definition_files import Store
from supervisor.stord.definitions import Definitions
from supervisor.stord.pool_process.fork_server import Forker
from supervisor.stord.pool_process.main import serve as serve_pool
from supervisor.stord.pool_process.temporary_names import host_tag
from supervisor.stord.pools import Pools
from supervisor.stord.registry import Registry
from supervisor.stord.secrets import Secrets
from supervisor.stord.volume_resolver import Resolving

log = logging.getLogger(__name__)


async def serve(process: ChildProcess) -> None:
    """Answer until the process is told to stop."""
    forker = Forker.start(serve_pool)  # first: this process has no threads yet
    forker.on_lost.append(lambda: forker_lost(process))
    registry, publisher = Registry(), Publisher(process.node, "storage_pool")
    keep_running = KeepRunningVote(
        process.node, busy="volumes are being written", idle="no volume is being written"
    )
    store = Store(process.paths)
    pools = Pools(
        registry,
        store,
        publisher,
        KINDS | DEFINED_ONLY,
        forker,
        Secrets(process.node).find,
        host_tag(str(process.paths.lib)),
        session=process.session,
    )
    definitions = Definitions(registry, store, publisher)
    clients = Clients()
    transfers = Transfers(registry, pools, keep_running)
    supported = {kind for kind, known in KINDS.items() if known.in_session or not process.session}
    process.node.serve(transfers)
    process.node.serve(Resolving(registry))
    process.node.serve(
        Dispatcher(
            "stord",
            Queries(registry, supported),
            Lifecycle(registry, definitions, pools, KINDS),
            VolumeQueries(registry),
            Volumes(registry, pools, publisher, keep_running, clients),
            transfers,
        )
    )
    process.node.on_peer_lost += [transfers.forget, clients.lost]
    process.node.subscribe(RPCD, ClientClosed, clients.closed)
    were_active = recovery.load(store, registry)
    if process.session:
        await recovery.define_default(store, registry, session_images(dict(os.environ)))
    late = await recovery.recover(were_active, registry, pools)
    await process.ready()
    starting = asyncio.create_task(recovery.autostart(store, registry, pools))
    await process.stopping.wait()
    for task in (starting, *late):
        task.cancel()
    await transfers.close()
    forker.close()


def forker_lost(process: ChildProcess) -> None:
    """Without the forker nothing can be done any more: the next stord has one of its own."""
    log.error("the process that forks the pools' ones has gone: stord begins anew")
    process.stopping.set()


def session_images(environ: dict[str, str]) -> Path:
    """Where a user's own volumes are: XDG's place for data."""
    data = environ.get("XDG_DATA_HOME") or f"{environ['HOME']}/.local/share"
    return Path(data) / "libvirt/images"
