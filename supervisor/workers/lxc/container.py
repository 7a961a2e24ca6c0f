"""A running container: its init process, cgroup and folder beside what every guest has.

Owns: the object and the container's private folder. May touch: the folder.
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
from supervisor.workers.cgroups.group import Group
from supervisor.workers.cgroups.hierarchies import layout
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
    """A running container; its process is liblxc's monitor."""

    def __init__(
        self,
        context: WorkerContext,
        document: Domain | str,
        status: Status,
        process: GuestProcess,
    ) -> None:
        """Describe a container; `attach_init` adds its init process."""
        super().__init__(context, document, status, process)
        self.init: GuestProcess | None = None
        self.at_barrier = False  # started paused: init is not executed yet
        self.group = ""
        self.on_init_exit: Callable[[], None] = lambda: None

    @property
    def folder(self) -> Path:
        """The private folder, which is liblxc's lxcpath."""
        return container_folder(self.context.paths, self.name)

    @property
    def cgroup(self) -> Group:
        """Its group, in every hierarchy of the host."""
        return Group(layout(), self.group)

    @property
    def controllers(self) -> tuple[str, ...]:
        """The controllers of its cgroup that tuning needs."""
        return tuple(name for name in ("cpu", "memory", "blkio") if self.cgroup.has(name))

    @property
    def init_pid(self) -> int:
        """The pid of init on the host; 0 while there is none."""
        return self.init.pid if self.init is not None and not self.init.exited else 0

    def attach_init(self, pid: int) -> None:
        """Watch the init process, which runs from now on."""
        self.at_barrier = False
        self.init = GuestProcess.open_child(pid)
        self.init.on_exit.append(lambda: self.on_init_exit())

    def require_init(self) -> None:
        """Refuse a call that needs an executed init.

        Raises:
            VirError: OPERATION_INVALID: the container was started paused and not resumed yet.
        """
        if self.at_barrier:
            detail = f"container '{self.name}' was started paused: resume it to execute its init"
            raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.LXC)

    def get_status(self, *, with_xml: bool = True) -> DomainStatus:
        """Describe the container to domd; the pid is init's, not the monitor's."""
        return msgspec.structs.replace(super().get_status(with_xml=with_xml), pid=self.init_pid)

    def close(self) -> None:
        """Close the pidfds; the container runs on."""
        if self.init is not None:
            self.init.unwatch()
        super().close()


def container_folder(paths: Paths, name: str) -> Path:
    """Locate the private directory of a container, in the status directory."""
    return paths.status_dir() / f"{name}.d"


def save_resources(folder: Path, resources: ContainerResources) -> None:
    """Write the resources' file; call it before they are taken, so that no crash loses one.

    Raises:
        OSError: the file cannot be written.
    """
    write_file(folder / RESOURCES_FILE, msgspec.json.encode(resources), durable=False)


def read_resources(folder: Path, default_group: str) -> ContainerResources:
    """Read the resources' file; without a valid one, the cgroup is all that is known."""
    try:
        return RESOURCES.decode((folder / RESOURCES_FILE).read_bytes())
    except (OSError, msgspec.MsgspecError):
        return ContainerResources(group=default_group)
