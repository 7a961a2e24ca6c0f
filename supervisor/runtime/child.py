"""What every process of the tree has in common, from its fork to its end.

Owns: the control link to the root, the loop, what the process was told of its task.
May touch: the process's own signal handlers. May not touch: what the role does.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

import uvloop

from conf.settings import DaemonConfig, QemuConfig
from ipc import BusError, Event, Node, current_call, handles
from ipc.node import ROOT
from supervisor.dispatch.errors import VirErrorCodec
from supervisor.messages.child import ChildConfig, GetConfig, Reload, Stop
from supervisor.messages.root import Ready
from supervisor.runtime.paths import Paths

FAILED: Final = 1  # exit status: the role failed, and is restarted if its policy says so
ORPHANED: Final = 3  # exit status: the root has gone

log = logging.getLogger(__name__)


@dataclass(slots=True)
class ChildProcess:
    """One process, as its role sees it."""

    name: str  # on the bus
    paths: Paths
    config: DaemonConfig  # replaced when the configuration is read anew
    qemu_config: QemuConfig
    node: Node
    stopping: asyncio.Event
    session: bool
    on_reload: list[Callable[[], None]] = field(default_factory=list)
    sockets: dict[str, int] = field(default_factory=dict)  # rpcd's, listening: "rw", "ro"
    driver: str = ""  # a worker's
    domain: str = ""  # a worker's: the guest's name
    uuid: str = ""  # a worker's: the guest's, as text
    is_replacement: bool = False  # a worker's: its predecessor ended for it to take over

    async def ready(self) -> None:
        """Tell the root that links to this process may be made.

        Raises:
            BusError: the root does not answer.
        """
        await self.node.control.call(Ready())

    def end_by_signal(self) -> None:
        """Let the role end in order at a SIGTERM."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.stopping.set)

    @handles(Reload)
    def reload(self, event: Reload) -> None:
        """Take the configuration that the root has read anew."""
        if not _from_root(event):
            return
        self.config, self.qemu_config = event.config, event.qemu_config
        for callback in self.on_reload:
            callback()

    @handles(Stop)
    def stop(self, event: Stop) -> None:
        """Let the role end in order."""
        if not _from_root(event):
            return
        log.info("%s stops: %s", self.name, event.why)
        self.stopping.set()


def _from_root(event: Event) -> bool:
    """Whether the root sent it; other processes are not obeyed."""
    name = current_call().peer
    if name != ROOT:
        log.error("%s sent a %s, which only the root may", name, type(event).__name__)
    return name == ROOT


Role = Callable[[ChildProcess], Awaitable[None]]


def run_child(
    control: socket.socket, name: str, entry: str, begin_log: Callable[[str], None]
) -> int:
    """Be the process of that name until it ends; called in a child that was just forked.

    Args:
        control: our end of the socket pair that the root made.
        name: on the bus.
        entry: the role, "module:function".
        begin_log: sends this process's records where all go (`supervisor.runtime.log`).

    Returns:
        The exit status: 0 when the role ended because it was told to or was finished.
    """
    begin_log(name)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_live(control, name, entry))
    except SystemExit as refusal:
        log.critical("%s cannot start: %s", name, refusal)
    except Exception:
        log.exception("%s failed", name)
    return FAILED


async def _live(control: socket.socket, name: str, entry: str) -> int:
    node = Node(control, name, VirErrorCodec())
    node.control.on_lost.append(lambda _: _orphaned(name))
    process = await fetch_config(node, name)
    process.end_by_signal()
    node.serve(process)
    role = load_role(entry)
    gc.freeze()  # what was loaded stays; a collection would copy every page of it
    await role(process)
    node.control.on_lost.clear()
    node.close()
    return 0


async def fetch_config(node: Node, name: str) -> ChildProcess:
    """Learn the task from the root.

    Raises:
        SystemExit: the root does not say.
    """
    try:
        assignment = await node.control.call(GetConfig())
    except BusError as error:
        raise SystemExit(f"the root does not say what to do: {error}") from error
    return make_process(node, name, assignment)


def make_process(node: Node, name: str, assignment: ChildConfig) -> ChildProcess:
    """Describe a process by its assignment; its sockets are its own from now on."""
    session = assignment.session
    return ChildProcess(
        name=name,
        paths=Paths.session(os.environ) if session else Paths.system(Path(assignment.root)),
        config=assignment.config,
        qemu_config=assignment.qemu_config,
        node=node,
        stopping=asyncio.Event(),
        session=session,
        sockets={side: end.take() for side, end in assignment.sockets.items()},
        driver=assignment.driver,
        domain=assignment.domain,
        uuid=assignment.uuid,
        is_replacement=assignment.is_replacement,
    )


def load_role(entry: str) -> Role:
    """Import the function that is a role.

    Raises:
        SystemExit: there is no such function.
    """
    module, _, function = entry.partition(":")
    try:
        loaded = sys.modules.get(module) or importlib.import_module(module)
        return cast("Role", getattr(loaded, function))
    except (ImportError, AttributeError) as error:
        raise SystemExit(f"there is no role {entry}: {error}") from error


def _orphaned(name: str) -> None:
    """End at once: a new root starts a new process, and there must not be two."""
    log.warning("%s ends: the root has gone", name)
    sys.stderr.flush()
    logging.shutdown()
    os._exit(ORPHANED)
