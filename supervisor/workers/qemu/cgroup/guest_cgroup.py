"""GuestCgroup: the group of a running QEMU, and a group below it for each kind of its threads.

Owns: those groups. May touch: their files. May not touch: other groups; threads' affinity.

The group has the limits of the whole guest. Below it `emulator` has QEMU's main loop and helpers,
`vcpuN` the thread of a vCPU, `iothreadN` that of an I/O thread, in the hierarchies whose values
threads can have each for itself: version 1's cpu and cpuset, version 2 as threaded groups.
Source: libvirt 9.0, virCgroupNewThread; Linux, cgroup-v2, "Threads".
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Collection, Iterable
from functools import cached_property
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers.cgroups.group import (
    THREADED,
    V2_NAMES,
    Group,
    Limit,
    remove_parents,
)
from supervisor.workers.cgroups.hierarchies import SLICE, UNIFIED, Layout
from supervisor.workers.cgroups.scope_names import scope_path

#: The controllers that a guest needs of version 1; cpuacct where version 2 does not count.
CONTROLLERS: Final[tuple[str, ...]] = ("cpu", "cpuset", "memory", "blkio", "devices")
TUNED: Final = ("cpu", "cpuset", "memory", "blkio")  # that tuning calls need
EMULATOR: Final = "emulator"
IOTHREAD: Final = "iothread"
VCPU: Final = "vcpu"

log = logging.getLogger(__name__)


def vcpu_name(number: int) -> str:
    """Name the group of a vCPU's thread."""
    return f"{VCPU}{number}"


def iothread_name(number: int) -> str:
    """Name the group of an I/O thread, by its id in the XML."""
    return f"{IOTHREAD}{number}"


def guest_hierarchies(layout: Layout) -> tuple[str, ...]:
    """Choose the hierarchies of a guest's group; of co-mounted controllers one stands for all."""
    wanted = [name for name in CONTROLLERS if name in layout.v1_controllers]
    if UNIFIED in layout.hierarchies:
        wanted.append(UNIFIED)
    elif "cpuacct" in layout.v1_controllers:
        wanted.append("cpuacct")
    return _by_mount(layout, wanted)


def thread_hierarchies(layout: Layout) -> tuple[str, ...]:
    """Choose the hierarchies in which threads have groups of their own."""
    wanted = [name for name in THREADED if name in layout.v1_controllers]
    if UNIFIED in layout.hierarchies and len(wanted) < len(THREADED):
        wanted.append(UNIFIED)
    elif UNIFIED not in layout.hierarchies and "cpuacct" in layout.v1_controllers:
        wanted.append("cpuacct")  # it alone counts on each of the host's CPUs
    return _by_mount(layout, wanted)


def _by_mount(layout: Layout, names: Iterable[str]) -> tuple[str, ...]:
    by_mount = {layout.hierarchies[name]: name for name in reversed(list(names))}
    return tuple(reversed(by_mount.values()))


class GuestCgroup:
    """The groups of one QEMU; without a group every change is refused, and nothing is read."""

    def __init__(self, layout: Layout, path: str, wanted: Collection[str] = ()) -> None:
        """Describe them.

        Args:
            layout: the host's hierarchies.
            path: of the group below each hierarchy's root; "": the guest has none.
            wanted: the controllers to use (qemu.conf, cgroup_controllers); none: all.
        """
        self.group = Group(layout, path)
        self._wanted = wanted

    @property
    def exists(self) -> bool:
        """Whether the guest has a group."""
        return bool(self.group.path)

    def has(self, controller: str) -> bool:
        """Return whether the guest's group has a controller."""
        return self.exists and self.wants(controller) and self.group.has(controller)

    def wants(self, controller: str) -> bool:
        """Return whether qemu.conf lets guests have a controller."""
        return not self._wanted or controller in self._wanted or controller == UNIFIED

    @cached_property
    def controllers(self) -> tuple[str, ...]:
        """The controllers that the group has; they are the same for as long as the guest runs."""
        return tuple(name for name in TUNED if self.has(name))

    # The whole guest.

    def make(self) -> bool:
        """Make the group in every hierarchy that lets us; whether there is one."""
        layout, made = self.group.layout, False
        delegated = scope_path(self.group.path)
        for hierarchy in filter(self.wants, guest_hierarchies(layout)):
            try:
                self.group.make([hierarchy], delegated)
                made = True
            except OSError as error:
                log.debug("no group %s in %s: %s", self.group.path, hierarchy or "v2", error)
        return made

    def add_process(self, pid: int) -> None:
        """Move QEMU into the group, before it has threads; it takes some 20 ms.

        Raises:
            VirError: SYSTEM_ERROR: the kernel refuses.
        """
        try:
            self.group.add_process(pid, self._present(guest_hierarchies(self.group.layout)))
            if self.group.scope:
                self.group.weights.add_process(pid, self._other_hierarchies())
        except OSError as error:
            detail = f"unable to add process {pid} to cgroup {self.group.path}: {error.strerror}"
            raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.CGROUP) from error

    def _other_hierarchies(self) -> list[str]:
        """List the hierarchies in which the guest's scope is, but no group of ours below it.

        By one of them systemd knows which processes are the scope's.
        """
        layout, scope = self.group.layout, self.group.weights.path
        there = {root: name for name, root in layout.hierarchies.items() if (root / scope).is_dir()}
        return [name for root, name in there.items() if not (root / self.group.path).is_dir()]

    def _present(self, hierarchies: Iterable[str]) -> list[str]:
        layout, path = self.group.layout, self.group.path
        return [name for name in hierarchies if os.path.isdir(layout.file(name, path, ""))]

    def remove(self) -> bool:
        """Remove the groups, and our slice with the last guest; whether none is left."""
        self.group.remove()
        if self.group.scope:
            remove_parents(self.group)
        elif self.group.path.startswith(f"{SLICE}/"):
            for root in set(self.group.layout.hierarchies.values()):
                with contextlib.suppress(OSError):  # ENOTEMPTY while another guest is in it
                    os.rmdir(root / SLICE)
        return not any(True for _ in self.group.directories())

    # Threads.

    def thread(self, name: str) -> Group:
        """Return the group of `EMULATOR`, a vCPU or an I/O thread."""
        return self.group.child(name)

    def thread_names(self) -> list[str]:
        """List the groups of threads that exist."""
        hierarchies = self._present(thread_hierarchies(self.group.layout)) if self.exists else []
        if not hierarchies:
            return []
        folder = self.group.layout.file(hierarchies[0], self.group.path, "")
        with os.scandir(folder) as entries:  # it knows directories without asking for each
            return [entry.name for entry in entries if entry.is_dir()]

    def has_threads(self, controller: str) -> bool:
        """Return whether threads have this controller's values each for itself."""
        if not self.exists or not self.wants(controller):
            return False
        if controller in self.group.layout.v1_controllers:
            return self.group.has(controller)
        with contextlib.suppress(VirError, OSError):
            enabled = self.group.read(UNIFIED, "cgroup.subtree_control")
            return V2_NAMES[controller] in enabled.split()
        return False

    def add_thread(self, name: str, tid: int, limits: Iterable[Limit] = ()) -> None:
        """Make a thread's group, set its limits, and move the thread into it.

        Without a group of the guest nothing is done.

        Raises:
            VirError: SYSTEM_ERROR: the kernel refuses.
        """
        hierarchies = self._present(thread_hierarchies(self.group.layout)) if self.exists else []
        if not hierarchies:
            return
        group = self.thread(name)
        try:
            group.make_threaded(hierarchies)
            for limit in limits:
                group.write(limit)
            group.add_thread(tid, hierarchies)
        except OSError as error:
            detail = f"unable to add thread {tid} to cgroup {group.path}: {error.strerror}"
            raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.CGROUP) from error

    def remove_thread(self, name: str) -> None:
        """Remove the group of a thread that has exited; a missing one is no error."""
        if self.exists:
            self.thread(name).remove()

    def set_cpus(self, name: str, cpuset: str) -> None:
        """Set on which of the host's CPUs the threads of a group may run.

        Args:
            name: of `EMULATOR`, `vcpu_name` or `iothread_name`.
            cpuset: as in the XML; "" for all of the guest's.

        Raises:
            VirError: SYSTEM_ERROR: the host has no such CPU. Without cpuset nothing is done: the
                threads' affinity says it too.
        """
        self._set(name, "cpuset.cpus", cpuset)

    def _set(self, name: str, file: str, value: str) -> None:
        if not self.has_threads("cpuset"):
            return
        group = self.thread(name)
        if not value and self.group.is_v1("cpuset"):
            value = self.group.read("cpuset", file)
        group.write(Limit("cpuset", file, value or "\n"))
