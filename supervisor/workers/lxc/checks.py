"""Checks of the host before a start, and the facts of it that the configuration needs.

Owns: reading. May touch: nothing; files in a container's root are not trusted.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import stat
from pathlib import Path
from typing import Final

from conf.domain import Domain
from conf.domain.devices.filesystem import Filesystem
from conf.domain.lxc.model import SharedNamespace
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers.lxc.config.mounts import node_paths, root_filesystem
from supervisor.workers.lxc.liblxc import init_pid

MAX_PASSWD: Final = 1 << 20  # bytes
SECCOMP: Final = Path("/usr/share/lxc/config/common.seccomp")
APPARMOR: Final = Path("/sys/module/apparmor/parameters/enabled")
APPARMOR_PARSER: Final = Path("/usr/sbin/apparmor_parser")
PID_MAX: Final = Path("/proc/sys/kernel/pid_max")
TASKS_PERCENT: Final = 15  # of the host's, for one container
NETNS: Final = Path("/run/netns")
#: Files of /proc that lxcfs shows with the container's own limits and usage.
LXCFS_FILES: Final = ("cpuinfo", "diskstats", "loadavg", "meminfo", "stat", "swaps", "uptime")
LXCFS_S: Final = 2.0

log = logging.getLogger(__name__)


def check_sources(domain: Domain) -> frozenset[str]:
    """Check that every <filesystem> source exists; return the sources that are no directories.

    Raises:
        VirError: INTERNAL_ERROR naming the element.
    """
    files = set()
    for filesystem in domain.devices.filesystems:
        _check_space_limits(filesystem)
        source = _source(filesystem)
        if not source:
            continue
        try:
            status = os.stat(source)
        except OSError as error:
            detail = (
                f"the <filesystem> with <target dir='{filesystem.target_dir}'> is not usable: "
                f"Failed to access '{source}': {error.strerror}"
            )
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC) from error
        if filesystem.type == "mount" and not stat.S_ISDIR(status.st_mode):
            files.add(source)
        if filesystem.target_dir == "/" and source in files:
            detail = f"the container's root '{source}' (<target dir='/'>) is no directory"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC)
    return frozenset(files)


def _check_space_limits(filesystem: Filesystem) -> None:
    """Refuse a space limit, which libvirt accepts for containers and does not enforce.

    Raises:
        VirError: CONFIG_UNSUPPORTED naming the target.
    """
    if filesystem.space_hard_limit is not None or filesystem.space_soft_limit is not None:
        detail = (
            f"the <filesystem> with <target dir='{filesystem.target_dir}'> has a "
            "<space_hard_limit> or <space_soft_limit>, which is not enforced for containers; use "
            "an image of that size (type='file'), or type='ram' with its usage"
        )
        raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.LXC)


def _source(filesystem: Filesystem) -> str:
    on_host = filesystem.type in ("mount", "file", "block")
    return filesystem.source_path or "" if on_host else ""


def device_numbers(domain: Domain) -> dict[str, str]:
    """Read the device number of every host device in the XML, by path.

    Raises:
        VirError: INTERNAL_ERROR naming the path: it is missing, or no device.
    """
    paths = [source for source, _ in node_paths(domain)]
    if domain.blkiotune is not None:
        paths += [device.path or "" for device in domain.blkiotune.devices]
    return {path: device_number(path) for path in paths}


def device_number(path: str) -> str:
    """Read a device's number, "MAJOR:MINOR".

    Raises:
        VirError: INTERNAL_ERROR: the path is missing, or no device.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        detail = f"the device '{path}' cannot be given to a container: {error.strerror}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC) from error
    if not (stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode)):
        detail = f"'{path}' is no device node"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC)
    return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"


def max_tasks() -> int:
    """Compute pids.max of one container: a part of the host's, against fork bombs."""
    return int(PID_MAX.read_text()) * TASKS_PERCENT // 100


def seccomp_profile() -> str:
    """Locate liblxc's seccomp profile, which denies kexec, module loading and the like."""
    return str(SECCOMP) if SECCOMP.exists() else ""


def apparmor_profile() -> str:
    """Name the AppArmor profile of containers; "" where the kernel has no AppArmor.

    liblxc generates a profile for each container with apparmor_parser; where that is missing, the
    container runs unconfined, as liblxc would refuse to start it otherwise.
    """
    try:
        enabled = APPARMOR.read_text().strip() == "Y"
    except OSError:
        return ""
    if not enabled:
        return ""
    return "generated" if APPARMOR_PARSER.exists() else "unconfined"


def init_ids(domain: Domain, mount_point: str) -> tuple[int, int]:
    """Resolve <inituser> and <initgroup> in the container's passwd(5) and group(5).

    Args:
        domain: the container's.
        mount_point: of its root, if that is in an image.

    Raises:
        VirError: CONFIG_UNSUPPORTED: the container has no such user or group.
    """
    root = root_filesystem(domain)
    source = mount_point or (root.source_path if root is not None else "") or "/"
    return (
        _resolve_id(domain.os.init_user, source, "passwd", "inituser"),
        _resolve_id(domain.os.init_group, source, "group", "initgroup"),
    )


def _resolve_id(name: str | None, root: str, table: str, element: str) -> int:
    if not name:
        return 0
    plain = name.removeprefix("+")
    if plain.isdigit():
        return int(plain)
    try:
        number = lookup_id(read_inside(root, ("etc", table)), name)
    except OSError as error:
        detail = f"<{element}>{name}</{element}>: {root}/etc/{table}: {error.strerror}"
        raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.LXC) from error
    if number is None:
        detail = f"<{element}>{name}</{element}> is not in the container's /etc/{table}"
        raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.LXC)
    return number


def lookup_id(text: str, name: str) -> int | None:
    """Find the number of a name in a table such as passwd(5)."""
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[0] == name and fields[2].isdigit():
            return int(fields[2])
    return None


def read_inside(root: str, parts: tuple[str, ...]) -> str:
    """Read a file of the container without following symbolic links.

    Raises:
        OSError: it cannot be read.
    """
    fd = open_inside(root, parts, os.O_RDONLY)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        return os.read(fd, MAX_PASSWD).decode(errors="replace")
    finally:
        os.close(fd)


def open_inside(root: str, parts: tuple[str, ...], flags: int) -> int:
    """Open a file of the container without following symbolic links, which may lead to the host.

    Raises:
        OSError: it cannot be opened, or a component of the path is a symbolic link.
    """
    here = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            folder = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            below = os.open(part, folder, dir_fd=here)
            os.close(here)
            here = below
        safe = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        return os.open(parts[-1], flags | safe, dir_fd=here)
    finally:
        os.close(here)


async def lxcfs_files(lxcfs: Path) -> dict[str, str]:
    """List the /proc files that lxcfs serves, by name; none where it does not run."""

    def look() -> dict[str, str]:
        served = set(os.listdir(lxcfs / "proc"))
        return {name: str(lxcfs / "proc" / name) for name in LXCFS_FILES if name in served}

    try:
        async with asyncio.timeout(LXCFS_S):
            return await asyncio.to_thread(look)
    except FileNotFoundError:
        return {}
    except (OSError, TimeoutError) as error:
        log.warning("lxcfs at %s does not answer, /proc shows the host's: %s", lxcfs, error)
        return {}


async def shared_namespaces(domain: Domain, states: Path) -> dict[str, str]:
    """Find the namespaces that the container shares (<lxc:namespace>): a path for each kind.

    Raises:
        VirError: INTERNAL_ERROR: there is no such namespace; OPERATION_FAILED.
    """
    element = domain.lxc_namespace
    if element is None:
        return {}
    return {
        kind: await _namespace(kind, shared, states)
        for kind, elements in element.kinds().items()
        for shared in elements
    }


async def _namespace(kind: str, shared: SharedNamespace, states: Path) -> str:
    value = shared.value
    if shared.type == "netns":
        path = NETNS / Path(value).name
    elif shared.type == "pid":
        path = Path("/proc") / value / "ns" / kind
    else:
        path = Path("/proc") / str(await init_pid(states / f"{value}.d")) / "ns" / kind
    if not await asyncio.to_thread(path.exists):
        detail = f"<lxc:share{kind} type='{shared.type}' value='{value}'/>: there is no {path}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC)
    return str(path)
