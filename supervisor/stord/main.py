"""stord: the storage driver, pools and volumes.

Owns: the pools' definitions and their runtime state, the list of their volumes.
May touch: pools' directories, devices and servers, through each pool's helper process
(`supervisor.stord.pool_process`) and storage programs only: stord itself never blocks.
May not touch: guests, networks, client sockets.
Runs with: files, and what mounting and block devices take.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Final

from supervisor.access.setup import open_guard
from supervisor.dispatch.dispatcher import Dispatcher
from supervisor.dispatch.events import KeepRunningVote, Publisher
from supervisor.dispatch.procedure_methods import check_methods
from supervisor.messages.calls import ClientClosed
from supervisor.runtime.child import ChildProcess
from supervisor.stord import recovery
from supervisor.stord.backends.table import BACKENDS, DEFINED_ONLY
from supervisor.stord.calls.lifecycle import PoolLifecycleCalls
from supervisor.stord.calls.query import PoolQueryCalls
from supervisor.stord.calls.transfer import TransferCalls
from supervisor.stord.calls.volume import VolumeCalls
from supervisor.stord.calls.volume_create import VolumeCreateCalls
from supervisor.stord.calls.volume_query import VolumeQueryCalls
from supervisor.stord.client_tasks import RPCD, ClientTasks
from supervisor.stord.definition_files import PoolFiles
from supervisor.stord.pool_process.fork_server import ForkServer
from supervisor.stord.pool_process.main import run as run_pool_process
from supervisor.stord.pool_process.temporary_names import host_tag
from supervisor.stord.pools import Pools
from supervisor.stord.registry import PoolRegistry, pool_definitions
from supervisor.stord.secrets import SecretsClient

#: What answers clients' calls (`owner=stord` in rpc/*.table); a method is named as its procedure.
CALLS: Final = (
    PoolQueryCalls,
    PoolLifecycleCalls,
    VolumeQueryCalls,
    VolumeCreateCalls,
    VolumeCalls,
    TransferCalls,
)

LINGER_S: Final = 0.5  # of the vote against the idle exit, whose timeout counts seconds

log = logging.getLogger(__name__)


def preload() -> None:
    """Check the calls' methods in the zygote: the check would copy their pages in this process."""
    check_methods("stord", "", CALLS)


async def run(process: ChildProcess) -> None:
    """Run the service until the process is asked to stop."""
    fork_server = ForkServer.start(run_pool_process)  # before any thread exists
    fork_server.on_lost.append(lambda: fork_server_lost(process))
    registry, publisher = PoolRegistry(), Publisher(process.node, "storage_pool")
    keep_running = KeepRunningVote(
        process.node,
        busy="volumes are being written",
        idle="no volume is being written",
        linger_s=LINGER_S,
    )
    files = PoolFiles(process.paths)
    pools = Pools(
        registry,
        files,
        publisher,
        BACKENDS | DEFINED_ONLY,
        fork_server,
        SecretsClient(process.node).find,
        host_tag(str(process.paths.lib)),
        session=process.session,
    )
    definitions = pool_definitions(registry, files, publisher)
    client_tasks = ClientTasks()
    volume_queries = VolumeQueryCalls(registry, pools)
    transfers = TransferCalls(registry, pools, keep_running)
    supported = {
        kind for kind, backend in BACKENDS.items() if backend.in_session or not process.session
    }
    process.node.serve(transfers)
    process.node.serve(volume_queries)
    process.node.serve(
        Dispatcher(
            "stord",
            PoolQueryCalls(registry, supported),
            PoolLifecycleCalls(registry, definitions, pools, BACKENDS),
            volume_queries,
            VolumeCreateCalls(registry, pools, publisher, keep_running, client_tasks),
            VolumeCalls(registry, pools, publisher, keep_running, client_tasks),
            transfers,
            guard=open_guard(process),
        )
    )
    process.node.on_peer_lost += [transfers.on_peer_lost, client_tasks.on_peer_lost]
    process.node.subscribe(RPCD, ClientClosed, client_tasks.on_client_closed)
    were_active = recovery.load(files, registry)
    if process.session:
        await recovery.define_default(files, registry, session_images(dict(os.environ)))
    late = await recovery.recover(were_active, registry, pools)
    await process.ready()
    starting = asyncio.create_task(recovery.autostart_pools(files, registry, pools))
    await process.stopping.wait()
    for task in (starting, *late):
        task.cancel()
    await transfers.close()
    fork_server.close()


def fork_server_lost(process: ChildProcess) -> None:
    """Stop stord, which root restarts: without the fork server no pool can be accessed."""
    log.error("the fork server of the pools' processes died: stord restarts")
    process.stopping.set()


def session_images(environ: dict[str, str]) -> Path:
    """Return the directory of a session daemon's volumes: XDG_DATA_HOME/libvirt/images."""
    data = environ.get("XDG_DATA_HOME") or f"{environ['HOME']}/.local/share"
    return Path(data) / "libvirt/images"
