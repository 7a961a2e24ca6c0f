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
from supervisor.stord.backends.table import BACKENDS, DEFINED_ONLY
from supervisor.stord.calls.lifecycle import PoolLifecycleCalls
from supervisor.stord.calls.query import PoolQueryCalls
from supervisor.stord.calls.transfer import TransferCalls
from supervisor.stord.calls.volume import VolumeCalls
from supervisor.stord.calls.volume_query import VolumeQueryCalls
from supervisor.stord.client_tasks import RPCD, ClientTasks
from supervisor.stord.definition_files import PoolFiles
from supervisor.stord.definitions import Definitions
from supervisor.stord.pool_process.fork_server import ForkServer
from supervisor.stord.pool_process.main import run as serve_pool
from supervisor.stord.pool_process.temporary_names import host_tag
from supervisor.stord.pools import Pools
from supervisor.stord.registry import PoolRegistry
from supervisor.stord.secrets import SecretsClient
from supervisor.stord.volume_resolver import Resolving

log = logging.getLogger(__name__)


async def run(process: ChildProcess) -> None:
    """Answer until the process is told to stop."""
    forker = ForkServer.start(serve_pool)  # first: this process has no threads yet
    forker.on_lost.append(lambda: fork_server_lost(process))
    registry, publisher = PoolRegistry(), Publisher(process.node, "storage_pool")
    keep_running = KeepRunningVote(
        process.node, busy="volumes are being written", idle="no volume is being written"
    )
    store = PoolFiles(process.paths)
    pools = Pools(
        registry,
        store,
        publisher,
        BACKENDS | DEFINED_ONLY,
        forker,
        SecretsClient(process.node).find,
        host_tag(str(process.paths.lib)),
        session=process.session,
    )
    definitions = Definitions(registry, store, publisher)
    clients = ClientTasks()
    transfers = TransferCalls(registry, pools, keep_running)
    supported = {
        kind for kind, known in BACKENDS.items() if known.in_session or not process.session
    }
    process.node.serve(transfers)
    process.node.serve(Resolving(registry))
    process.node.serve(
        Dispatcher(
            "stord",
            PoolQueryCalls(registry, supported),
            PoolLifecycleCalls(registry, definitions, pools, BACKENDS),
            VolumeQueryCalls(registry),
            VolumeCalls(registry, pools, publisher, keep_running, clients),
            transfers,
        )
    )
    process.node.on_peer_lost += [transfers.on_peer_lost, clients.on_peer_lost]
    process.node.subscribe(RPCD, ClientClosed, clients.on_client_closed)
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


def fork_server_lost(process: ChildProcess) -> None:
    """Without the forker nothing can be done any more: the next stord has one of its own."""
    log.error("the process that forks the pools' ones has gone: stord begins anew")
    process.stopping.set()


def session_images(environ: dict[str, str]) -> Path:
    """Where a user's own volumes are: XDG's place for data."""
    data = environ.get("XDG_DATA_HOME") or f"{environ['HOME']}/.local/share"
    return Path(data) / "libvirt/images"
