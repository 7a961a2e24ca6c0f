"""Huge pages of the host: where hugetlbfs is mounted, and a guest's directory there.

Owns: finding the mounts, and the guests' directories in them. May touch: those directories.
Source: libvirt 9.0, virFileFindHugeTLBFS, qemu.conf "hugetlbfs_mount"; Linux, hugetlbpage.rst.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conf.domain import Domain
from conf.settings import QemuConfig
from conf.types.size import KIB
from supervisor.objects.domain_status_xml import Status
from supervisor.runtime.emulator_user import User
from supervisor.workers.bendable_files import make_private_folder

MOUNTS: Final = Path("/proc/mounts")
MEMORY: Final = Path("/proc/meminfo")
FILE_SYSTEM: Final = "hugetlbfs"
OCTAL: Final = re.compile(r"\\([0-7]{3})")  # blanks and backslashes in /proc/mounts


@dataclass(frozen=True, slots=True)
class HugePages:
    """The host's mounts of hugetlbfs."""

    mounts: dict[int, str]  # by page size in KiB
    default_kib: int  # the page size where the document says none; 0: there is no mount

    def guest_dirs(self, status: Status) -> dict[int, str]:
        """Locate a guest's directory in each mount, by page size in KiB."""
        name = f"{status.id}-{status.name[:20]}"
        return {size: f"{mount}/libvirt/qemu/{name}" for size, mount in self.mounts.items()}


def find_hugepages(config: QemuConfig) -> HugePages:
    """Find the mounts: qemu.conf's, else every one of the host's; of each page size the first."""
    configured = [path for path in config.hugetlbfs_mount if path]
    # hugetlbfs_mount = "" switches huge pages off.
    paths = configured if config.hugetlbfs_mount else mount_points(_read(MOUNTS))
    mounts: dict[int, str] = {}
    for path in paths:
        with contextlib.suppress(OSError):
            mounts.setdefault(os.statvfs(path).f_bsize // KIB, path.rstrip("/"))
    return HugePages(mounts, choose_default(list(mounts), _read(MEMORY)))


def has_hugepages(domain: Domain) -> bool:
    """Return whether the document asks for huge pages."""
    backing = domain.memory_backing
    if backing is not None and backing.hugepages is not None:
        return True
    return any(memory.source_page is not None for memory in domain.devices.memories)


def mount_points(text: str) -> list[str]:
    """List where hugetlbfs is mounted, from the text of /proc/mounts."""
    entries = (line.split(" ") for line in text.splitlines())
    return [
        OCTAL.sub(lambda code: chr(int(code[1], 8)), entry[1])
        for entry in entries
        if len(entry) > 2 and entry[2] == FILE_SYSTEM
    ]


def choose_default(sizes: Sequence[int], meminfo: str) -> int:
    """Choose the kernel's default page size if it has a mount, else the first mount's; in KiB."""
    found = re.search(r"^Hugepagesize:\s+(\d+) kB$", meminfo, re.MULTILINE)
    kernels = int(found[1]) if found else 0
    return kernels if kernels in sizes else next(iter(sizes), 0)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def make_directories(hugepages: HugePages, status: Status, user: User) -> None:
    """Make a guest's directory in each mount, for QEMU's user alone.

    Raises:
        OSError: it cannot be made.
    """
    for name in hugepages.guest_dirs(status).values():
        make_private_folder(Path(name), user, 0o700)


def remove_directories(hugepages: HugePages, status: Status) -> None:
    """Remove a guest's directories; QEMU has unlinked its files there."""
    for name in hugepages.guest_dirs(status).values():
        shutil.rmtree(name, ignore_errors=True)
