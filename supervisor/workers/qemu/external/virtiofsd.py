"""virtiofsd: the process that serves one <filesystem> of driver type virtiofs.

Owns: its command line, and which binary it is. May touch: vhost-user descriptors, for reading;
the listening socket in the domain's private directory.
Source: libvirt 9.0, qemu_virtiofs.c; QEMU's docs/interop/vhost-user.json.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from conf.domain import Domain
from conf.domain.devices.filesystem import Filesystem, FilesystemBinary
from conf.errors import ConfError
from supervisor.runtime.emulator_user import User
from supervisor.runtime.qemu_descriptors import read_descriptors
from supervisor.workers.bendable_files import give_socket
from supervisor.workers.qemu.argv.syntax import comma
from supervisor.workers.qemu.external.processes import ExternalCommand
from supervisor.workers.unix_sockets import listen


class BackendDescriptor(msgspec.Struct, frozen=True):
    """A descriptor of a vhost-user program."""

    type: str
    binary: str


def served(domain: Domain) -> Iterator[Filesystem]:
    """List the file systems for which the worker starts virtiofsd."""
    for filesystem in domain.devices.filesystems:
        if needs_virtiofsd(filesystem):
            yield filesystem


def needs_virtiofsd(filesystem: Filesystem) -> bool:
    """Return whether the worker starts virtiofsd: the document names no socket of a running one."""
    return filesystem.driver_type == "virtiofs" and filesystem.source_socket is None


def complete(filesystems: Iterable[Filesystem], directories: Iterable[Path]) -> None:
    """Fill in the binary where the document has none, and check what virtiofsd needs.

    Args:
        filesystems: those that are served.
        directories: of vhost-user descriptors.

    Raises:
        ConfError: "operation_failed": no descriptor names a virtiofsd; "internal": the binary
            cannot be executed, or the folder does not exist.
    """
    folders = list(directories)
    for filesystem in filesystems:
        binary = filesystem.binary = filesystem.binary or FilesystemBinary()
        binary.path = binary.path or _find_binary(folders)
        if not os.access(binary.path, os.X_OK):
            detail = f"virtiofsd binary '{binary.path}' is not executable"
            raise ConfError("internal", detail, "filesystem/binary")
        source = filesystem.source_path or ""
        if not Path(source).is_dir():
            detail = f"the virtiofs export directory '{source}' does not exist"
            raise ConfError("internal", detail, "filesystem/source")


def _find_binary(directories: Iterable[Path]) -> str:
    for descriptor in read_descriptors(directories, BackendDescriptor):
        if descriptor.type == "fs":
            return descriptor.binary
    raise ConfError("operation_failed", "Unable to find a satisfying virtiofsd", "filesystem")


def listen_for(filesystem: Filesystem, domain_dir: Path, user: User) -> socket.socket:
    """Make the listening socket, which QEMU's user may connect to and virtiofsd inherits."""
    path = domain_dir / f"{filesystem.alias}-fs.sock"
    end = listen(path)
    give_socket(path, user)
    return end


def plan_command(filesystem: Filesystem, fd: int, log_fd: int) -> ExternalCommand:
    """Plan the command; it runs as root, whose files a guest may see, too.

    Args:
        filesystem: completed.
        fd: the listening socket.
        log_fd: for what it prints.
    """
    binary = filesystem.binary or FilesystemBinary()
    options = [f"source={comma(filesystem.source_path or '')}"]
    options += [f"{name}={value}" for name, value in _modes(binary) if value is not None]
    options += [name if value else f"no_{name}" for name, value in _switches(binary)]
    argv = [binary.path or "", f"--fd={fd}", "-o", ",".join(options)]
    if binary.thread_pool is not None:
        argv.append(f"--thread-pool-size={binary.thread_pool}")
    return ExternalCommand(
        alias=filesystem.alias or "",
        argv=argv,
        fds=(fd,),
        log_fd=log_fd,
        user=User(os.geteuid(), os.getegid(), ""),
    )


def _modes(binary: FilesystemBinary) -> list[tuple[str, str | None]]:
    return [("cache", binary.cache), ("sandbox", binary.sandbox)]


def _switches(binary: FilesystemBinary) -> Iterator[tuple[str, bool]]:
    for name, value in (
        ("xattr", binary.xattr),
        ("flock", binary.lock_flock),
        ("posix_lock", binary.lock_posix),
    ):
        if value is not None:
            yield name, value
