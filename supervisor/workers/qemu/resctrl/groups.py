"""The groups of a guest in the resctrl file system: their names, making them, who is in them.

Owns: those groups and their groups of monitors. May touch: their directories.
Source: libvirt 9.0, virResctrlAllocCreate, virResctrlMonitorCreate, virResctrlAllocAddPID.

A group is `MACHINE-vcpus_0-1` and has the vCPUs of one <cachetune> or <memorytune>, or of both. It
stays when QEMU has ended: the kernel removes no group by itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from conf.domain.resctrl import CacheShare, MemoryShare
from conf.domain.tuning import Cputune
from conf.types.cpuset import parse_cpuset
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers.qemu.resctrl.host import RESCTRL, SCHEMATA, read_host
from supervisor.workers.qemu.resctrl.schemata import plan_schemata

MON_GROUPS: Final = "mon_groups"
LOCK_S: Final = 5.0
PAUSE_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class VcpuGroup:
    """What some vCPUs get, and which of them are watched."""

    vcpus: str
    caches: list[CacheShare] = field(default_factory=list)
    nodes: list[MemoryShare] = field(default_factory=list)
    cache_monitors: list[str] = field(default_factory=list)  # the vCPUs of each
    bandwidth_monitors: list[str] = field(default_factory=list)

    @property
    def has_allocation(self) -> bool:
        """Whether there is more than monitors; those alone are in the default group."""
        return bool(self.caches or self.nodes)

    def path(self, root: Path, machine: str) -> Path:
        """Locate the group."""
        return root / f"{machine}-{identity(self.vcpus)}" if self.has_allocation else root

    def monitor(self, root: Path, machine: str, vcpus: str) -> Path:
        """Locate the group of a monitor; all vCPUs of a group are watched in it itself."""
        group = self.path(root, machine)
        if self.has_allocation and vcpus == self.vcpus:
            return group
        return group / MON_GROUPS / f"{machine}-{identity(vcpus)}"

    def monitors(self) -> list[str]:
        """List the vCPUs of each group of monitors, each once."""
        return list(dict.fromkeys((*self.cache_monitors, *self.bandwidth_monitors)))


def identity(vcpus: str) -> str:
    """Name vCPUs as libvirt does."""
    return f"vcpus_{vcpus}"


def vcpu_groups(tune: Cputune | None) -> list[VcpuGroup]:
    """List the groups of <cputune>; <cachetune> and <memorytune> of the same vCPUs share one."""
    groups: dict[frozenset[int], VcpuGroup] = {}
    for cache in tune.cachetunes if tune is not None else ():
        group = groups.setdefault(parse_cpuset(cache.vcpus), VcpuGroup(cache.vcpus))
        group.caches.extend(cache.caches)
        group.cache_monitors.extend(monitor.vcpus for monitor in cache.monitors)
    for memory in tune.memorytunes if tune is not None else ():
        group = groups.setdefault(parse_cpuset(memory.vcpus), VcpuGroup(memory.vcpus))
        group.nodes.extend(memory.nodes)
        group.bandwidth_monitors.extend(monitor.vcpus for monitor in memory.monitors)
    return list(groups.values())


def make_groups(tune: Cputune | None, machine: str, root: Path = RESCTRL) -> None:
    """Make a guest's groups, with their parts; what was made remains if that fails.

    Raises:
        VirError: CONFIG_UNSUPPORTED: the host cannot do it, or has no room left; SYSTEM_ERROR: the
            kernel refuses; OPERATION_TIMEOUT: another program keeps the file system locked.
    """
    groups = vcpu_groups(tune)
    if not groups:
        return
    if not (root / "info").is_dir():
        plan_schemata(read_host(root), (), ())  # refuses
    with _locked(root):
        for group in groups:
            try:
                _make_group(group, machine, root)
            except OSError as error:
                path = group.path(root, machine)
                detail = f"Cannot write into schemata file '{path / SCHEMATA}': {error.strerror}"
                raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.RESCTRL) from error


def _make_group(group: VcpuGroup, machine: str, root: Path) -> None:
    path = group.path(root, machine)
    if group.has_allocation:
        schemata = plan_schemata(read_host(root), group.caches, group.nodes)
        _make_directory(path)
        (path / SCHEMATA).write_text(schemata)
    for vcpus in group.monitors():
        monitor = group.monitor(root, machine, vcpus)
        if monitor != path:
            _make_directory(monitor)


def _make_directory(path: Path) -> None:
    """Make a group.

    Raises:
        VirError: INTERNAL_ERROR: there is one of that name; SYSTEM_ERROR: the kernel has no more.
    """
    try:
        path.mkdir()
    except FileExistsError as error:
        detail = f"Path '{path}' for resctrl group exists"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.RESCTRL) from error
    except OSError as error:
        detail = f"Cannot create resctrl directory '{path}': {error.strerror}"
        raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.RESCTRL) from error


@contextlib.contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Lock the file system, as every program does that allocates (flock on its root).

    Raises:
        VirError: OPERATION_TIMEOUT.
    """
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + LOCK_S
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    detail = f"{root} is locked by another program for {LOCK_S:.0f} s"
                    code = ErrorCode.OPERATION_TIMEOUT
                    raise VirError(code, detail, ErrorDomain.RESCTRL) from None
            time.sleep(PAUSE_S)
        yield
    finally:
        os.close(fd)


def add_vcpu(tune: Cputune | None, machine: str, vcpu: int, tid: int, root: Path = RESCTRL) -> None:
    """Move the thread of a vCPU to its groups.

    Raises:
        VirError: SYSTEM_ERROR: the kernel refuses.
    """
    for group in vcpu_groups(tune):
        if vcpu not in parse_cpuset(group.vcpus):
            continue
        paths = [group.path(root, machine)] if group.has_allocation else []
        paths += [
            group.monitor(root, machine, vcpus)
            for vcpus in group.monitors()
            if vcpu in parse_cpuset(vcpus)
        ]
        for path in dict.fromkeys(paths):
            try:
                (path / "tasks").write_text(str(tid))
            except OSError as error:
                detail = f"Cannot write pid in tasks file '{path / 'tasks'}': {error.strerror}"
                raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.RESCTRL) from error


def remove_groups(tune: Cputune | None, machine: str, root: Path = RESCTRL) -> list[Path]:
    """Remove a guest's groups; those that remain. A missing one is no error."""
    remaining = []
    for group in vcpu_groups(tune):
        paths = [group.monitor(root, machine, vcpus) for vcpus in group.monitors()]
        for path in dict.fromkeys((*paths, group.path(root, machine))):
            if path != root and not _remove(path):
                remaining.append(path)
    return remaining


def _remove(path: Path) -> bool:
    """Remove a group: resctrl removes its files, and the groups of monitors in it, with it."""
    try:
        path.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
