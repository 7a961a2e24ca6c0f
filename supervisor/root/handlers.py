"""What the processes of the tree ask of the root over their control links.

Owns: who may ask what. May touch: the tree, by its own verbs.
May not touch: anything else; every request is treated as coming from a hostile peer.
"""

from __future__ import annotations

import asyncio
import os

from ipc import Ack, Descriptor, current_call, handles
from rpc.errors import ErrorCode, VirError
from supervisor.messages.child import ChildConfig, GetConfig
from supervisor.messages.root import (
    EndWorker,
    KeepRunning,
    ListProcesses,
    Processes,
    Ready,
    ReplaceWorker,
    SpawnWorker,
    WorkerSpawned,
)
from supervisor.root.roles import WORKERS
from supervisor.root.tree import Tree


class TreeHandlers:
    """Answers the tree's processes."""

    def __init__(self, tree: Tree) -> None:
        """Answer for `tree`."""
        self._tree = tree

    @handles(GetConfig)
    def get_config(self, request: GetConfig) -> ChildConfig:
        """Tell a new process what it is."""
        child, config = self._tree.child(current_call().peer), self._tree.config
        sockets = {}
        if child.name == "rpcd":
            listening = config.sockets
            sockets = {name: Descriptor(os.dup(end.fileno())) for name, end in listening.items()}
        return ChildConfig(
            root=config.root,
            session=config.session,
            config=config.config,
            qemu_config=config.qemu_config,
            sockets=sockets,
            driver=child.role.name if child.is_worker else "",
            domain=child.domain,
            uuid=child.uuid,
            is_replacement=child.is_replacement,
        )

    @handles(Ready)
    def ready(self, request: Ready) -> Ack:
        """A process answers from now on."""
        self._tree.mark_ready(current_call().peer)
        return Ack()

    @handles(KeepRunning)
    def keep_running(self, event: KeepRunning) -> None:
        """A process has work, or none any more."""
        self._tree.set_busy(current_call().peer, busy=event.busy)

    @handles(SpawnWorker)
    def spawn_worker(self, request: SpawnWorker) -> WorkerSpawned:
        """Have a worker for a domain.

        Raises:
            VirError: ACCESS_DENIED for others than the driver's keeper; NO_SUPPORT for an unknown
                driver.
        """
        check_owner(request.driver)
        child = self._tree.ensure_worker(request.driver, request.domain, request.uuid)
        return WorkerSpawned(name=child.name, pid=child.pid)

    @handles(EndWorker)
    def end_worker(self, request: EndWorker) -> Ack:
        """End a worker for good.

        Raises:
            VirError: ACCESS_DENIED for others than its driver's keeper.
        """
        check_owner(request.name.partition(":")[0])
        self._tree.end_worker(request.name)
        return Ack()

    @handles(ReplaceWorker)
    async def replace_worker(self, request: ReplaceWorker) -> Ack:
        """Have a fresh process take over from a worker.

        Raises:
            VirError: ACCESS_DENIED for others than its driver's keeper.
        """
        check_owner(request.name.partition(":")[0])
        await self._tree.replace_worker(request.name)
        return Ack()

    @handles(ListProcesses)
    async def list_processes(self, request: ListProcesses) -> Processes:
        """Describe the tree."""
        return Processes(processes=await asyncio.to_thread(self._tree.status))


def check_owner(driver: str) -> None:
    """Refuse anyone but the service that keeps the domains of a driver.

    Raises:
        VirError: NO_SUPPORT for an unknown driver; ACCESS_DENIED.
    """
    role = WORKERS.get(driver)
    if role is None:
        raise VirError(ErrorCode.NO_SUPPORT, f"there are no workers for '{driver}'")
    if current_call().peer != role.owner:
        detail = f"{current_call().peer} may not spawn or end workers of '{driver}'"
        raise VirError(ErrorCode.ACCESS_DENIED, detail)
