"""The root's handlers of the requests that processes send over their control links.

Owns: which process may send which request. May touch: the tree, by its methods.
May not touch: anything else; every request is treated as a hostile peer's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from typing import Final

from ipc import Ack, Descriptor, current_call, handles
from rpc.errors import ErrorCode, VirError
from supervisor.access.roles import Roles
from supervisor.messages.child import ChildConfig, GetConfig
from supervisor.messages.root import (
    EndWorker,
    FetchLogSettings,
    FetchTlsFiles,
    KeepRunning,
    ListProcesses,
    LoadVfio,
    LogSettings,
    Processes,
    Ready,
    Renewed,
    RenewWorker,
    ReplaceWorker,
    SetLogSettings,
    SetTimeout,
    SpawnWorker,
    TlsFiles,
    WorkerSpawned,
)
from supervisor.root.roles import WORKERS
from supervisor.root.tcp_sockets import TLS, port_of
from supervisor.root.tls_files import TlsError
from supervisor.root.tree import Tree
from supervisor.runtime.subprocesses import run

VFIO: Final = "vfio-pci"  # the kernel module
MODPROBE_S: Final = 20.0

log = logging.getLogger(__name__)


class TreeHandlers:
    """Handles the requests of the tree's processes."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    @handles(GetConfig)
    def get_config(self, request: GetConfig) -> ChildConfig:
        """Send a new process its configuration; rpcd's has the listening sockets."""
        child, config = self._tree.child(current_call().peer), self._tree.config
        sockets = {}
        if child.name == "rpcd":
            listening = config.sockets
            sockets = {name: Descriptor(os.dup(end.fileno())) for name, end in listening.items()}
        inherited, child.inherited = child.inherited, None
        return ChildConfig(
            root=config.root,
            session=config.session,
            config=config.config,
            qemu_config=config.qemu_config,
            sockets=sockets,
            tls_port=port_of(config.sockets, TLS) if child.name == "authd" else 0,
            driver=child.role.name if child.is_worker else "",
            domain=child.domain,
            uuid=child.uuid,
            roles=Roles() if child.is_worker else config.roles,
            memory=child.role.memory,
            is_replacement=child.is_replacement,
            inherited=inherited,
        )

    @handles(Ready)
    def ready(self, request: Ready) -> Ack:
        """Mark a process as ready for links."""
        self._tree.mark_ready(current_call().peer)
        return Ack()

    @handles(LoadVfio)
    async def load_vfio(self, request: LoadVfio) -> Ack:
        """Load vfio-pci for a process that gives PCI devices to guests.

        Raises:
            VirError: ACCESS_DENIED for others than hostd and workers.
        """
        peer = current_call().peer
        if peer != "hostd" and not self._tree.child(peer).is_worker:
            raise VirError(ErrorCode.ACCESS_DENIED, f"{peer} may not load {VFIO}")
        with contextlib.suppress(OSError, TimeoutError):
            await run(["modprobe", VFIO], deadline_s=MODPROBE_S)
        return Ack()

    @handles(KeepRunning)
    def keep_running(self, event: KeepRunning) -> None:
        """Record whether a process keeps the daemon running."""
        self._tree.set_busy(current_call().peer, busy=event.busy)

    @handles(SpawnWorker)
    def spawn_worker(self, request: SpawnWorker) -> WorkerSpawned:
        """Spawn a worker for a domain, unless it has one.

        Raises:
            VirError: ACCESS_DENIED for others than the driver's owner; NO_SUPPORT for an unknown
                driver.
        """
        check_owner(request.driver)
        child, existed = self._tree.ensure_worker(request.driver, request.domain, request.uuid)
        return WorkerSpawned(name=child.name, pid=child.pid, existed=existed)

    @handles(EndWorker)
    def end_worker(self, request: EndWorker) -> Ack:
        """Stop a worker for good.

        Raises:
            VirError: ACCESS_DENIED for others than its driver's owner.
        """
        check_owner(request.name.partition(":")[0])
        self._tree.end_worker(request.name)
        return Ack()

    @handles(ReplaceWorker)
    async def replace_worker(self, request: ReplaceWorker) -> Ack:
        """Replace a worker by a new process.

        Raises:
            VirError: ACCESS_DENIED for others than its driver's owner.
        """
        check_owner(request.name.partition(":")[0])
        await self._tree.replace_worker(request.name)
        return Ack()

    @handles(RenewWorker)
    async def renew_worker(self, request: RenewWorker) -> Renewed:
        """Replace an idle worker by a new process that takes its guest over.

        Raises:
            VirError: ACCESS_DENIED for others than its driver's owner.
        """
        check_owner(request.name.partition(":")[0])
        return Renewed(renewed=await self._tree.renew_worker(request.name))

    @handles(FetchLogSettings)
    def fetch_log_settings(self, request: FetchLogSettings) -> LogSettings:
        """Return the log's settings.

        Raises:
            VirError: ACCESS_DENIED for others than rpcd.
        """
        only_rpcd()
        return self._tree.log_settings()

    @handles(SetLogSettings)
    def set_log_settings(self, request: SetLogSettings) -> Ack:
        """Change the log of every process.

        Raises:
            VirError: ACCESS_DENIED for others than rpcd; INVALID_ARG.
        """
        only_rpcd()
        try:
            self._tree.set_log(request.outputs, request.filters)
        except ValueError as error:
            raise VirError(ErrorCode.INVALID_ARG, str(error)) from error
        log.info("an administrator changed the log: %s", self._tree.log_settings())
        return Ack()

    @handles(SetTimeout)
    def set_timeout(self, request: SetTimeout) -> Ack:
        """Change --timeout.

        Raises:
            VirError: ACCESS_DENIED for others than rpcd.
        """
        only_rpcd()
        self._tree.set_timeout(request.seconds)
        return Ack()

    @handles(FetchTlsFiles)
    async def fetch_tls_files(self, request: FetchTlsFiles) -> TlsFiles:
        """Read the certificates for rpcd.

        Raises:
            VirError: ACCESS_DENIED for others; CONFIG_UNSUPPORTED: they cannot be used.
        """
        only_rpcd()
        try:
            return await asyncio.to_thread(self._tree.config.read_tls, self._tree.config.config)
        except TlsError as error:
            raise VirError(ErrorCode.CONFIG_UNSUPPORTED, str(error)) from error

    @handles(ListProcesses)
    async def list_processes(self, request: ListProcesses) -> Processes:
        """List the processes of the tree."""
        return Processes(processes=await asyncio.to_thread(self._tree.status))


def only_rpcd() -> None:
    """Refuse every process but rpcd.

    Raises:
        VirError: ACCESS_DENIED.
    """
    if current_call().peer != "rpcd":
        raise VirError(ErrorCode.ACCESS_DENIED, f"{current_call().peer} may not ask for that")


def check_owner(driver: str) -> None:
    """Refuse every process but the service that owns the domains of a driver.

    Raises:
        VirError: NO_SUPPORT for an unknown driver; ACCESS_DENIED.
    """
    role = WORKERS.get(driver)
    if role is None:
        raise VirError(ErrorCode.NO_SUPPORT, f"there are no workers for '{driver}'")
    if current_call().peer != role.owner:
        detail = f"{current_call().peer} may not spawn or end workers of '{driver}'"
        raise VirError(ErrorCode.ACCESS_DENIED, detail)
