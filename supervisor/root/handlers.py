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


class Requests:
    """Answers the tree's processes."""

    def __init__(self, tree: Tree) -> None:
        """Answer for `tree`."""
        self._tree = tree

    @handles(GetConfig)
    def begin(self, request: GetConfig) -> ChildConfig:
        """Tell a new process what it is."""
        child, setting = self._tree.child(current_call().peer), self._tree.setting
        sockets = {}
        if child.name == "rpcd":
            listening = setting.sockets
            sockets = {name: Descriptor(os.dup(end.fileno())) for name, end in listening.items()}
        return ChildConfig(
            root=setting.root,
            session=setting.session,
            config=setting.config,
            qemu_config=setting.qemu_config,
            sockets=sockets,
            driver=child.role.name if child.is_worker else "",
            domain=child.domain,
            uuid=child.uuid,
            renewed=child.renewed,
        )

    @handles(Ready)
    def ready(self, request: Ready) -> Ack:
        """A process answers from now on."""
        self._tree.came_up(current_call().peer)
        return Ack()

    @handles(KeepRunning)
    def activity(self, event: KeepRunning) -> None:
        """A process has work, or none any more."""
        self._tree.works(current_call().peer, busy=event.busy)

    @handles(SpawnWorker)
    def spawn_worker(self, request: SpawnWorker) -> WorkerSpawned:
        """Have a worker for a domain.

        Raises:
            VirError: ACCESS_DENIED for others than the driver's keeper; NO_SUPPORT for an unknown
                driver.
        """
        only_keeper(request.driver)
        child = self._tree.have_worker(request.driver, request.domain, request.uuid)
        return WorkerSpawned(name=child.name, pid=child.pid)

    @handles(EndWorker)
    def end_worker(self, request: EndWorker) -> Ack:
        """End a worker for good.

        Raises:
            VirError: ACCESS_DENIED for others than its driver's keeper.
        """
        only_keeper(request.name.partition(":")[0])
        self._tree.end_worker(request.name)
        return Ack()

    @handles(ReplaceWorker)
    async def renew_worker(self, request: ReplaceWorker) -> Ack:
        """Have a fresh process take over from a worker.

        Raises:
            VirError: ACCESS_DENIED for others than its driver's keeper.
        """
        only_keeper(request.name.partition(":")[0])
        await self._tree.renew_worker(request.name)
        return Ack()

    @handles(ListProcesses)
    async def list_processes(self, request: ListProcesses) -> Processes:
        """Describe the tree."""
        return Processes(processes=await asyncio.to_thread(self._tree.status))


def only_keeper(driver: str) -> None:
    """Refuse anyone but the service that keeps the domains of a driver.

    Raises:
        VirError: NO_SUPPORT for an unknown driver; ACCESS_DENIED.
    """
    role = WORKERS.get(driver)
    if role is None:
        raise VirError(ErrorCode.NO_SUPPORT, f"there are no workers for '{driver}'")
    if current_call().peer != role.keeper:
        detail = f"{current_call().peer} may not spawn or end workers of '{driver}'"
        raise VirError(ErrorCode.ACCESS_DENIED, detail)
