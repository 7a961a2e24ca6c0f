"""One cgroup: its files in every hierarchy that has it, its processes and threads, its removal.

Owns: reading and writing those. May touch: the group's directories and those below it.
May not touch: other groups, but that `make` makes the parents.
Source: Linux, Documentation/admin-guide/cgroup-v1, cgroup-v2 ("Threads", "Core Interface Files").
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ipc import Descriptor
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.runtime.kernel_files import read_file, write_file
from supervisor.workers.cgroups.hierarchies import UNIFIED, Layout
from supervisor.workers.cgroups.scope_names import scope_path, unit_of, weight_property

#: What version 2 calls the controllers that libvirt names as version 1 does.
V2_NAMES: Final[dict[str, str]] = {
    "cpu": "cpu",
    "cpuset": "cpuset",
    "memory": "memory",
    "blkio": "io",
}
#: The controllers that threads of one process can have different values of.
THREADED: Final[tuple[str, ...]] = ("cpu", "cpuset")
#: The hierarchies in which systemd makes and removes the groups of scopes.
MANAGED: Final = ("", "name=systemd", "cpu", "memory", "blkio", "devices", "pids")
#: A group without these takes no process: version 1 does not inherit them.
CPUSET_FILES: Final = ("cpuset.cpus", "cpuset.mems")


@dataclass(frozen=True, slots=True)
class Limit:
    """One value of one controller."""

    controller: str
    file: str
    value: str


@dataclass(frozen=True, slots=True)
class Group:
    """A group, by its path below the root of each hierarchy."""

    layout: Layout
    path: str

    def child(self, name: str) -> Group:
        """Return a group below this one."""
        return Group(self.layout, f"{self.path}/{name}")

    @property
    def scope(self) -> str:
        """The unit of systemd's that the group is in; "": it is in none."""
        return unit_of(self.path)

    @property
    def weights(self) -> Group:
        """The group whose weights count beside other guests': the scope, where there is one."""
        return Group(self.layout, scope_path(self.path) or self.path)

    @property
    def with_scope(self) -> tuple[Group, ...]:
        """The groups that have limits of the whole guest: this one, and its scope."""
        return (self, self.weights) if self.scope else (self,)

    def owner_of(self, limit: Limit) -> Group:
        """Return which of both has a limit of the whole guest."""
        return self.weights if is_weight(limit) else self

    def is_v1(self, controller: str) -> bool:
        """Return whether the host has the controller as version 1."""
        return controller in self.layout.v1_controllers

    def has(self, controller: str) -> bool:
        """Return whether the group exists and has this controller's files."""
        if self.is_v1(controller):
            return os.path.isdir(self.layout.file(controller, self.path, ""))
        try:
            enabled = read_file(self.layout.file(controller, self.path, "cgroup.controllers"))
        except (OSError, VirError):
            return False
        return V2_NAMES.get(controller, controller) in enabled.split()

    # Values.

    def read(self, controller: str, file: str) -> str:
        """Read a value.

        Raises:
            VirError: SYSTEM_ERROR naming the file.
        """
        path = self.layout.file(controller, self.path, file)
        try:
            return read_file(path)
        except OSError as error:
            detail = f"Unable to read from '{path}': {error.strerror}"
            raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.CGROUP) from error

    def open(self, controller: str, file: str) -> Descriptor:
        """Open a value for reading; each read from the file's begin is of the value then.

        Raises:
            VirError: SYSTEM_ERROR naming the file.
        """
        path = self.layout.file(controller, self.path, file)
        try:
            return Descriptor(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            detail = f"Unable to read from '{path}': {error.strerror}"
            raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.CGROUP) from error

    def write(self, limit: Limit) -> None:
        """Set a value.

        Raises:
            VirError: SYSTEM_ERROR naming the file; the kernel keeps the former value.
        """
        path = self.layout.file(limit.controller, self.path, limit.file)
        try:
            write_file(path, limit.value)
        except OSError as error:
            if error.errno == errno.EINVAL:
                detail = f"Invalid value '{limit.value}' for '{limit.file}': {error.strerror}"
            else:
                detail = f"Unable to write to '{path}': {error.strerror}"
            raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.CGROUP) from error

    def restore(self, limit: Limit) -> None:
        """Set a value back; a refusal is ignored."""
        with contextlib.suppress(VirError):
            self.write(limit)

    # Directories.

    def directories(self) -> Iterator[Path]:
        """List the group's directories that exist, in every hierarchy."""
        for root in dict.fromkeys(self.layout.hierarchies.values()):
            if (root / self.path).is_dir():
                yield root / self.path

    def make(self, controllers: Iterable[str], delegated: str = "") -> None:
        """Make the group, with its parents, in the hierarchies of these controllers.

        Args:
            controllers: of version 1; `UNIFIED` for version 2, with every controller it has.
            delegated: the path of a group above whose controllers of version 2 are another's.

        Raises:
            OSError: it cannot be made; what was made remains.
        """
        for controller in controllers:
            root = self.layout.hierarchies[controller]
            here = root
            for part in Path(self.path).parts:
                if controller == UNIFIED and here.is_relative_to(root / delegated):
                    enable_controllers(here)
                parent, here = here, here / part
                here.mkdir(exist_ok=True)
                if (here / CPUSET_FILES[0]).exists() and controller != UNIFIED:
                    inherit_cpuset(parent, here)

    def make_threaded(self, controllers: Iterable[str]) -> None:
        """Make the group below a group that exists, for threads of the parent's process.

        Raises:
            OSError: it cannot be made.
        """
        for controller in controllers:
            here = self.layout.hierarchies[controller] / self.path
            here.mkdir(exist_ok=True)
            if controller == UNIFIED:
                if (here / "cgroup.type").read_text().strip() != "threaded":
                    (here / "cgroup.type").write_text("threaded")
                enable_controllers(here.parent, THREADED)
            elif (here / CPUSET_FILES[0]).exists():
                inherit_cpuset(here.parent, here)

    def remove(self) -> None:
        """Remove the group and those below it, in every hierarchy; a missing one is no error."""
        for folder in self.directories():
            for path, _, _ in os.walk(folder, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(path)

    # Processes and threads.

    def add_process(self, pid: int, controllers: Iterable[str]) -> None:
        """Move a process, with all of its threads, into the group.

        The first write takes the kernel 10 to 20 ms: it waits for an RCU grace period.

        Raises:
            OSError: it has exited, or the kernel refuses.
        """
        for controller in controllers:
            folder = self.layout.hierarchies[controller] / self.path
            (folder / "cgroup.procs").write_text(str(pid))

    def add_thread(self, tid: int, controllers: Iterable[str]) -> None:
        """Move one thread into the group.

        Raises:
            OSError: it has exited, or the kernel refuses.
        """
        for controller in controllers:
            folder = self.layout.hierarchies[controller] / self.path
            file = "cgroup.threads" if controller == UNIFIED else "tasks"
            (folder / file).write_text(str(tid))

    def pids(self) -> set[int]:
        """Read the pids in the group and in the groups below it."""
        found: set[int] = set()
        for folder in self.directories():
            for path, _, _ in os.walk(folder):
                # A threaded group refuses: its process is listed above it.
                with contextlib.suppress(OSError, ValueError):
                    found |= {int(pid) for pid in (Path(path) / "cgroup.procs").read_text().split()}
        return found

    def kill(self) -> None:
        """Send SIGKILL to every process of the group."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def is_weight(limit: Limit) -> bool:
    """Return whether a limit is a share of what all guests want, and no device's."""
    return limit.file.endswith((".weight", ".shares")) and " " not in limit.value


def kept_weights(limits: Iterable[Limit]) -> list[tuple[str, int]]:
    """List the weights among limits as systemd keeps them."""
    return [weight_property(each.file, int(each.value)) for each in limits if is_weight(each)]


def remove_parents(group: Group) -> None:
    """Remove what is empty above a group in a scope, where systemd has made nothing."""
    hierarchies = group.layout.hierarchies
    managed = {hierarchies.get(name) for name in MANAGED}
    for root in set(hierarchies.values()) - managed:
        for folder in Path(group.path).parents:
            with contextlib.suppress(OSError):  # ENOTEMPTY while another guest is in it
                if folder.parts:
                    os.rmdir(root / folder)


def enable_controllers(folder: Path, names: Iterable[str] | None = None) -> None:
    """Enable controllers of version 2 for the groups below a directory.

    A controller that the host keeps to itself is left out: writing a limit of it is refused then.

    Args:
        folder: the directory.
        names: of the controllers; None: all that it has.
    """
    with contextlib.suppress(OSError):
        available = (folder / "cgroup.controllers").read_text().split()
        enabled = (folder / "cgroup.subtree_control").read_text().split()
        for name in available:
            if name not in enabled and (names is None or name in names):
                with contextlib.suppress(OSError):
                    (folder / "cgroup.subtree_control").write_text(f"+{name}")


def inherit_cpuset(parent: Path, folder: Path) -> None:
    """Copy what a new group of version 1 needs before it takes a process.

    Raises:
        OSError: it cannot be copied.
    """
    for file in CPUSET_FILES:
        if not (folder / file).read_text().strip():
            (folder / file).write_text((parent / file).read_text())
