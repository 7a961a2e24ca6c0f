"""The pid files of processes that libvirt's own daemon has started to serve a guest's devices.

Owns: where they are. May touch: those files. May not touch: the processes.
Source: libvirt 9.0, qemuVirtioFSCreatePidFilename, qemuTPMEmulatorPidFileBuildPath and others.

This daemon writes none: its helpers are in the status file, and end with QEMU.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from supervisor.objects.domain_status_xml import Status
from supervisor.runtime.paths import Paths

#: By the file's name, in which "{}" is ID-NAME and "*" the device's alias: the program.
HELPERS: Final[Mapping[str, str]] = {
    "{}-*-fs.pid": "virtiofsd",
    "{}-*-vhost-user-gpu.pid": "vhost-user-gpu",
    "swtpm/{}-swtpm.pid": "swtpm",
    "passt/{}-*-passt.pid": "passt",
    "slirp/{}-*-slirp.pid": "slirp-helper",
    "dbus/{}-dbus.pid": "dbus-daemon",
}


@dataclass(frozen=True, slots=True)
class PidFile:
    """One such file."""

    path: Path
    program: str
    alias: str  # of the device; "": the guest has one at most


def pid_files(paths: Paths, status: Status) -> Iterator[PidFile]:
    """List the files of one guest, whose name may hold what a pattern of glob would match."""
    short = f"{status.id}-{status.name[:20]}"
    for pattern, program in HELPERS.items():
        folder, _, name = pattern.rpartition("/")
        before, _, after = name.replace("{}", short).partition("*")
        for path in sorted((paths.status_dir() / folder).glob("*.pid")):
            if path.name == before and not after:
                yield PidFile(path, program, "")
            elif after and path.name.startswith(before) and path.name.endswith(after):
                alias = path.name[len(before) : len(path.name) - len(after)]
                yield PidFile(path, program, alias)


def remove_pid_files(paths: Paths, status: Status) -> None:
    """Remove the files of a guest that has ended."""
    for file in pid_files(paths, status):
        file.path.unlink(missing_ok=True)
