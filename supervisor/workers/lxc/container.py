"""One running container: what is known of it beyond what is known of every guest.

Owns: that, and its private folder. May touch: the folder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from conf.domain import Domain
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.messages.worker import DomainStatus
from supervisor.objects.domain_status_xml import Status
from supervisor.runtime.atomic_file import write_file
from supervisor.runtime.paths import Paths
from supervisor.runtime.pidfd import GuestProcess
from supervisor.workers.context import WorkerContext
from supervisor.workers.running_guest import RunningGuest

RESOURCES_FILE = "held.json"


class ContainerResources(msgspec.Struct, kw_only=True):
    """What must be released when the container has stopped, kept as a file in its folder."""

    group: str  # the container's cgroup
    #: Network devices of the host by name, and their index in the container's namespace.
    host_netdevs: dict[str, int] = msgspec.field(name="lent", default_factory=dict)
    mounts: list[str] = []  # mount points in the folder: images, device nodes, the namespace


RESOURCES: Final = msgspec.json.Decoder(ContainerResources)


class Container(RunningGuest):
    """A container that runs: its process is liblxc's monitor."""

    def __init__(
        self,
        workplace: WorkerContext,
        document: Domain | str,
        status: Status,
        process: GuestProcess,
    ) -> None:
        """Know a container; `start_task` tells of its first process."""
        super().__init__(workplace, document, status, process)
        self.init: GuestProcess | None = None
        self.at_barrier = False  # it stands before its first instruction, and has no init yet
        self.group = ""
        self.on_init_exit: Callable[[], None] = lambda: None

    @property
    def folder(self) -> Path:
        """Its private folder, where the monitor listens."""
        return container_folder(self.context.paths, self.name)

    @property
    def init_pid(self) -> int:
        """The number of its first process on the host; 0: none, it is on its way."""
        return self.init.pid if self.init is not None and not self.init.exited else 0

    def attach_init(self, pid: int) -> None:
        """Its first process has begun."""
        self.at_barrier = False
        self.init = GuestProcess.open_child(pid)
        self.init.on_exit.append(lambda: self.on_init_exit())

    def require_init(self) -> None:
        """Refuse what takes a container whose first process runs, or did.

        Raises:
            VirError: OPERATION_INVALID: it stands before its first instruction.
        """
        if self.at_barrier:
            detail = f"the container '{self.name}' was started paused and has not begun: resume it"
            raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.LXC)

    def get_status(self) -> DomainStatus:
        """What domd is told of it: its process is the container's first."""
        return msgspec.structs.replace(super().get_status(), pid=self.init_pid)

    def close(self) -> None:
        """Let go of everything; what runs on is left running."""
        if self.init is not None:
            self.init.unwatch()
        super().close()


def container_folder(paths: Paths, name: str) -> Path:
    """The private folder of a container."""
    return paths.status_dir() / f"{name}.d"


def save_resources(folder: Path, resources: ContainerResources) -> None:
    """Write down what is held, before it is.

    Raises:
        OSError: it cannot be.
    """
    write_file(folder / RESOURCES_FILE, msgspec.json.encode(resources), durable=False)


def read_resources(folder: Path, default_group: str) -> ContainerResources:
    """What a container holds; where nothing can be read, its group alone."""
    try:
        return RESOURCES.decode((folder / RESOURCES_FILE).read_bytes())
    except (OSError, msgspec.MsgspecError):
        return ContainerResources(group=default_group)
