"""The runtime of a child process: what all have in common, from the fork to the exit.

Owns: the control link to the root, the event loop, the process's configuration.
May touch: the process's own signal handlers. May not touch: what the role does.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import importlib
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

from conf.settings import DaemonConfig, QemuConfig
from ipc import Ack, BusError, Event, Node, current_call, handles
from ipc.node import ROOT
from supervisor.access.roles import Roles
from supervisor.dispatch.errors import VirErrorCodec
from supervisor.messages.child import (
    ChildConfig,
    GetConfig,
    Inheritance,
    Reload,
    SetLogLevel,
    SignOfLife,
    Stop,
)
from supervisor.messages.root import Ready
from supervisor.runtime.event_loop import new_event_loop
from supervisor.runtime.paths import Paths

FAILED: Final = 1  # exit status: the role failed, and is restarted if its policy says so
ORPHANED: Final = 3  # exit status: the root has exited
#: Of the interpreter, for documents of `conf.mapper.safe_parse.MAX_DEPTH` elements inside one
#: another: `copy.deepcopy` takes the most, nine frames an element. The root parses none.
RECURSION_LIMIT: Final = 5000

log = logging.getLogger(__name__)


@dataclass(slots=True)
class ChildProcess:
    """One process, as its role sees it."""

    name: str  # on the bus
    paths: Paths
    config: DaemonConfig  # replaced at SIGHUP
    qemu_config: QemuConfig
    node: Node
    stopping: asyncio.Event
    session: bool
    on_reload: list[Callable[[], None]] = field(default_factory=list)
    sockets: dict[str, int] = field(default_factory=dict)  # rpcd's, listening: "rw", "tls:N", …
    tls_port: int = 0  # authd's: where TLS clients come; 0: nowhere
    driver: str = ""  # a worker's
    domain: str = ""  # a worker's: the guest's name
    uuid: str = ""  # a worker's: the guest's, as text
    roles: Roles = field(default_factory=Roles)  # of roles.conf; replaced at SIGHUP
    is_replacement: bool = False  # a worker's: its predecessor ended for it to take over
    inherited: Inheritance | None = None  # a worker's, from that predecessor

    async def ready(self) -> None:
        """Report to the root that links to this process may be made.

        Raises:
            BusError: the root does not answer.
        """
        await self.node.control.call(Ready())

    def stop_on_sigterm(self) -> None:
        """Stop the role in order at a SIGTERM."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.stopping.set)

    @handles(SignOfLife)
    def sign_of_life(self, request: SignOfLife) -> Ack:
        """Answer the root's watchdog."""
        return Ack()

    @handles(Reload)
    def reload(self, event: Reload) -> None:
        """Take the configuration that the root has read at SIGHUP."""
        if not _is_from_root(event):
            return
        self.config, self.qemu_config = event.config, event.qemu_config
        self.roles = event.roles
        for callback in self.on_reload:
            callback()

    @handles(SetLogLevel)
    def set_log_level(self, event: SetLogLevel) -> None:
        """Send the root more, or less, of the log."""
        if _is_from_root(event):
            logging.getLogger().setLevel(event.level)

    @handles(Stop)
    def stop(self, event: Stop) -> None:
        """Stop the role in order."""
        if not _is_from_root(event):
            return
        log.info("%s stops: %s", self.name, event.why)
        self.stopping.set()


def _is_from_root(event: Event) -> bool:
    """Return whether the root sent an event; from other processes it is ignored and logged."""
    sender = current_call().peer
    if sender != ROOT:
        log.error("%s sent a %s, which only the root may", sender, type(event).__name__)
    return sender == ROOT


RoleFunction = Callable[[ChildProcess], Awaitable[None]]


def run_child(
    control: socket.socket, name: str, entry: str, start_log: Callable[[str], None]
) -> int:
    """Run the process of that name; called in a child that was just forked.

    Args:
        control: the child's end of the socket pair that the root made.
        name: on the bus.
        entry: the role, "module:function".
        start_log: connects this process's log to the root's (`supervisor.runtime.log`).

    Returns:
        The exit status: 0 when the role was stopped or had finished.
    """
    start_log(name)
    sys.setrecursionlimit(RECURSION_LIMIT)
    # For the watchdog: a signal handler writes the stacks, also those of a loop that spins.
    faulthandler.register(signal.SIGUSR2, all_threads=True)
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(_run(control, name, entry))
    except SystemExit as error:
        log.critical("%s cannot start: %s", name, error)
    except Exception:
        log.exception("%s failed", name)
    return FAILED


async def _run(control: socket.socket, name: str, entry: str) -> int:
    node = Node(control, name, VirErrorCodec())
    node.control.on_lost.append(lambda _: _exit_orphaned(name))
    process = await fetch_config(node, name)
    process.stop_on_sigterm()
    node.serve(process)
    role = load_role(entry)
    gc.freeze()  # a collection would write to, and so copy, the pages shared with the zygote
    await role(process)
    node.control.on_lost.clear()
    node.close()
    return 0


async def fetch_config(node: Node, name: str) -> ChildProcess:
    """Request the configuration from the root.

    Raises:
        SystemExit: the root does not answer.
    """
    try:
        config = await node.control.call(GetConfig())
    except BusError as error:
        raise SystemExit(f"the root does not send a configuration: {error}") from error
    if config.memory:
        limit_memory(config.memory)
    return make_process(node, name, config)


def limit_memory(size: int) -> None:
    """Limit this process's private writable memory; what exceeds it is a MemoryError.

    RLIMIT_DATA counts what is mapped for writing (Linux 4.7 on), RLIMIT_AS also what is only
    reserved, as malloc's 64 MiB for each thread.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or size < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (size, hard))


def make_process(node: Node, name: str, config: ChildConfig) -> ChildProcess:
    """Build a process from its configuration; the sockets' descriptors are its own from now on."""
    session = config.session
    return ChildProcess(
        name=name,
        paths=Paths.session(os.environ) if session else Paths.system(Path(config.root)),
        config=config.config,
        qemu_config=config.qemu_config,
        node=node,
        stopping=asyncio.Event(),
        session=session,
        sockets={side: end.take() for side, end in config.sockets.items()},
        tls_port=config.tls_port,
        driver=config.driver,
        domain=config.domain,
        uuid=config.uuid,
        roles=config.roles,
        is_replacement=config.is_replacement,
        inherited=config.inherited,
    )


def load_role(entry: str) -> RoleFunction:
    """Import the function that is a role.

    Raises:
        SystemExit: there is no such function.
    """
    module, _, function = entry.partition(":")
    try:
        role_module = sys.modules.get(module) or importlib.import_module(module)
        return cast("RoleFunction", getattr(role_module, function))
    except (ImportError, AttributeError) as error:
        raise SystemExit(f"role {entry} cannot be imported: {error}") from error


def _exit_orphaned(name: str) -> None:
    """Exit at once: a new root starts a new process, and there must not be two."""
    log.warning("%s exits: the root has closed the control link", name)
    sys.stderr.flush()
    logging.shutdown()
    os._exit(ORPHANED)
