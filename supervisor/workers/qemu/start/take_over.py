"""Takes over a guest that libvirt's own daemon has started, from the status file that it left.

Owns: what that file does not say: the guest's cgroup, its helpers, its files' owners, its ports.
May touch: /proc, pid files and extended attributes, to read; netd over the bus; the status file.
May not touch: QEMU, the helpers, the files.

Every step only looks and records, so a worker that is killed on the way leaves libvirt's file as it
was, and its successor begins again.
Source: libvirt 9.0, qemuProcessReconnect, virSecurityGetRememberedLabel, qemuTPMEmulatorPidFile.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from conf.domain import Domain, parse_domain
from conf.mapper import Mode, write
from ipc import BusError
from rpc.errors import VirError
from supervisor.messages.netd import AdoptPort
from supervisor.objects.domain_status_xml import GONE, External, Owner, Status, write_status
from supervisor.runtime.host import boot_id
from supervisor.runtime.paths import Paths
from supervisor.runtime.procfs import command_line, start_time
from supervisor.workers import owner_attributes
from supervisor.workers.cgroups.devices import CONTROLLER
from supervisor.workers.cgroups.hierarchies import UNIFIED, layout
from supervisor.workers.context import WorkerContext
from supervisor.workers.interfaces import netd_interfaces
from supervisor.workers.qemu.cgroup.guest_cgroup import EMULATOR
from supervisor.workers.qemu.external.pid_files import PidFile, pid_files
from supervisor.workers.qemu.start.files import domain_files

PROC: Final = Path("/proc")
LIVE: Final = Mode(live=True, secure=True)
#: libvirt's names of a guest's group without systemd, with it, and this daemon's.
GROUP: Final = re.compile(r"(?:^|/)(?:qemu-\d+-[^/]+|machine-qemu[^/]*\.scope(?:/libvirt)?)$")
log = logging.getLogger(__name__)


async def take_over(context: WorkerContext, status: Status, xml: str) -> None:
    """Complete the status of a guest, and write it in place of libvirt's; then it is ours.

    Raises:
        ConfError: the live XML cannot be parsed.
    """
    domain = parse_domain(xml)
    if status.start != GONE:
        status.cgroup = find_group(status.pid)
        status.filters_devices = filters_devices(status.cgroup, layout().hierarchies)
        status.user = find_user(status.pid)
    status.externals = list(find_helpers(context.paths, status))
    status.owners = await find_owners(context, domain)
    status.foreign = not await _adopt_ports(context, domain)
    write_status(context.paths.status(status.name), status, xml)
    log.info(
        "%s (pid %d) is taken over from libvirt's daemon: group %s, %d helpers, %d owners of files",
        *(status.name, status.pid, status.cgroup or "-"),
        *(len(status.externals), len(status.owners)),
    )


def find_user(pid: int) -> list[int]:
    """Find the user and group that QEMU runs as; empty: not known, qemu.conf's are taken."""
    try:
        lines = (PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return []
    fields = {line.partition(":")[0]: line.split() for line in lines}
    effective = [int(fields[name][2]) for name in ("Uid", "Gid") if name in fields]
    return [*effective, 0] if len(effective) == 2 else []


def find_group(pid: int) -> str:
    """Find the cgroup that has a guest's limits; "": it has none of its own.

    QEMU's main thread is in the group `emulator` below it where threads have groups.
    """
    try:
        text = (PROC / str(pid) / "cgroup").read_text()
    except OSError:
        return ""
    return parse_group(text)


def parse_group(text: str) -> str:
    """Read /proc/PID/cgroup (cgroups(7)): the guest's group, below a hierarchy's root. Pure."""
    for line in text.splitlines():
        path = line.split(":", 2)[-1].strip("/").removesuffix(f"/{EMULATOR}")
        if GROUP.search(path):
            return path
    return ""


def filters_devices(group: str, hierarchies: Mapping[str, Path]) -> bool:
    """Return whether devices can be added to those that the guest's group lets QEMU open."""
    if not group or (CONTROLLER in hierarchies and UNIFIED in hierarchies):
        return False  # hybrid: libvirt's filter is in version 1, ours would be in version 2
    root = hierarchies.get(UNIFIED) or hierarchies.get(CONTROLLER)
    return root is not None and (root / group).is_dir()


def find_helpers(paths: Paths, status: Status) -> Iterator[External]:
    """Find the processes that serve the guest's devices, by the pid files that libvirt wrote."""
    for file in pid_files(paths, status):
        external = _helper(file)
        if external is not None:
            yield external


def _helper(file: PidFile) -> External | None:
    """Read a pid file; None: no process of that program has the number."""
    try:
        pid = int(file.path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    argv, start = command_line(pid), start_time(pid)
    if start is None or not argv or argv[0].rpartition("/")[2] != file.program:
        return None
    return External(file.alias or file.program, pid, start, boot_id())


async def find_owners(context: WorkerContext, domain: Domain) -> list[Owner]:
    """Find who owned the guest's files before it was started, and record that it uses them.

    libvirt keeps them in extended attributes of the files; this daemon, where the guest was its own
    before, in records.
    """
    owners = {owner.path: owner for owner in context.previous_owners.own()}
    for file in domain_files(domain):
        with contextlib.suppress(OSError):
            if (owner := remembered_owner(file.path)) is not None:
                owners[file.path] = owner
    for owner in owners.values():
        try:
            await context.previous_owners.adopt(owner)
        except OSError as error:
            log.warning("the owner of %s is not restored: %s", owner.path, error)
    return list(owners.values())


def remembered_owner(path: str) -> Owner | None:
    """Read the owner that libvirt has remembered with a file; None: it has remembered none.

    Raises:
        OSError: there is no such file.
    """
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        named = f"/proc/self/fd/{fd}"
        found, status = owner_attributes.remembered(named), os.stat(named)
    finally:
        os.close(fd)
    return Owner(path, *found, status.st_dev, status.st_ino) if found is not None else None


async def _adopt_ports(context: WorkerContext, domain: Domain) -> bool:
    """Tell netd of the guest's interfaces; return whether it knows of all."""
    known = True
    for index in netd_interfaces(domain):
        interface = domain.devices.interfaces[index]
        request = AdoptPort(
            domain=domain.name, uuid=domain.uuid or "", interface=write(interface, LIVE)
        )
        try:
            await context.node.link("netd").call(request)
        except (BusError, VirError) as error:
            known = False
            log.error("netd does not know of '%s': %s", interface.target_dev, error)
    return known
