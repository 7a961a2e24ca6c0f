"""Which volumes a folder holds, and what each is.

Owns: looking. May touch: the folder it is given, and the files in it, to read; what their headers
name as backing files, to see whose those are.
Runs in a process of the pool's own: every call here may block.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from conf.errors import ConfError
from ipc import Ack, handles
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.errors import from_conf_error
from supervisor.images import HEADER_BYTES, ImageInfo, OpenImage, read_image, resolve_chain
from supervisor.images.backing_file import parse_backing_name
from supervisor.stord.pool_process.errors import system_errors
from supervisor.stord.pool_process.file_btime import btime_ns
from supervisor.stord.pool_process.messages import CheckChain, GetSpace, Scan, Stat
from supervisor.stord.pool_process.temporary_names import is_temporary
from supervisor.stord.volume_info import Backing, PoolInfo, VolumeInfo

FIRST_BYTES: Final = 4096  # enough of most headers; the rest is read of those that go on
ISO_AT: Final = 32 * 1024
PERMISSIONS: Final = 0o777
TRAILER: Final = 512
SELINUX: Final = Path("/sys/fs/selinux/enforce")
_UNWRITABLE: Final = re.compile("[\x00-\x1f\ud800-\udfff\ufffe\uffff]")
OPTIONS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK


class VolumeScan:
    """Answers questions about what there is."""

    @handles(Scan)
    def scan(self, request: Scan) -> PoolInfo:
        """Look at every volume of a folder."""
        labels = SELINUX.exists()
        with system_errors(f"read the folder '{request.directory}'"):
            space = filesystem_space(request.directory)
            volumes = tuple(_volumes(request.directory, labels=labels))
        return PoolInfo(
            capacity=space.capacity,
            allocation=space.allocation,
            available=space.available,
            volumes=volumes,
        )

    @handles(Stat)
    def stat(self, request: Stat) -> VolumeInfo:
        """Look at one volume."""
        path = f"{request.directory}/{request.name}"
        with system_errors(f"look at '{path}'"):
            try:
                found = read_volume_info(request.directory, request.name, labels=SELINUX.exists())
            except FileNotFoundError:
                found = None
        if found is None:
            detail = f"there is no volume '{path}' any more"
            raise VirError(ErrorCode.NO_STORAGE_VOL, detail, ErrorDomain.STORAGE)
        born = btime_ns(path)
        return found if born is None else replace(found, times=(*found.times, born))

    @handles(CheckChain)
    def check_chain(self, request: CheckChain) -> Ack:
        """Refuse a chain that cannot be trusted."""
        with system_errors(f"read the images below '{request.path}'"):
            try:
                resolve_chain(request.path, request.format, read_head)
            except ConfError as error:
                raise from_conf_error(error, ErrorDomain.STORAGE) from error
        return Ack()

    @handles(GetSpace)
    def get_space(self, request: GetSpace) -> PoolInfo:
        """Measure the space of a folder's file system."""
        with system_errors(f"measure the folder '{request.directory}'"):
            return filesystem_space(request.directory)


def read_head(path: str) -> OpenImage:
    """The beginning of an image somewhere in a chain.

    Raises:
        OSError: it cannot be read.
    """
    status = os.stat(path)
    if stat.S_IFMT(status.st_mode) not in (stat.S_IFREG, stat.S_IFBLK):
        raise OSError(errno.EINVAL, "neither a file nor a device", path)
    fd = os.open(path, OPTIONS)
    try:
        return OpenImage(os.pread(fd, HEADER_BYTES, 0), (status.st_dev, status.st_ino))
    finally:
        os.close(fd)


def filesystem_space(directory: str) -> PoolInfo:
    """The space of a folder's file system."""
    space = os.statvfs(directory)
    capacity = space.f_blocks * space.f_frsize
    available = space.f_bfree * space.f_frsize
    return PoolInfo(capacity=capacity, available=available, allocation=capacity - available)


def _volumes(directory: str, *, labels: bool) -> Iterator[VolumeInfo]:
    """Every volume; what vanishes meanwhile, or may not be read, is left out."""
    with os.scandir(directory) as entries:
        for obj in entries:
            if is_temporary(obj.name) or not _is_valid_in_xml(obj.name):
                continue
            try:
                is_file = obj.is_file(follow_symlinks=False)  # the folder itself says so
                found = read_volume_info(directory, obj.name, labels=labels, is_file=is_file)
            except OSError:
                continue
            if found is not None:
                yield found


def _is_valid_in_xml(name: str) -> bool:
    """Whether a name can stand in a document."""
    return name.isprintable() or not _UNWRITABLE.search(name)


def read_volume_info(
    directory: str, name: str, *, labels: bool, is_file: bool = False
) -> VolumeInfo | None:
    """One volume; None for what is none: a pipe, a socket, a character device.

    Args:
        directory: the pool's.
        name: of the file.
        labels: whether files have labels of SELinux.
        is_file: it is known to be a regular file.

    Raises:
        OSError: it cannot be looked at.
    """
    path = f"{directory}/{name}"
    if not is_file:
        status = os.stat(path)  # before it is opened: opening some devices does something
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFDIR:
            image = ImageInfo(format="dir")
            return _volume_info(path, name, status, type_="dir", image=image, size=0)
        if kind not in (stat.S_IFREG, stat.S_IFBLK):
            return None
    fd = os.open(path, OPTIONS)
    try:
        status = os.fstat(fd)
        kind = stat.S_IFMT(status.st_mode)
        size = status.st_size if kind == stat.S_IFREG else os.lseek(fd, 0, os.SEEK_END)
        image = read_image(_head(fd, size), _tail(fd, name, size))
        label = _label(fd) if labels else ""
    finally:
        os.close(fd)
    type_ = "file" if kind == stat.S_IFREG else "block"
    return _volume_info(path, name, status, type_=type_, image=image, size=size, label=label)


def _head(fd: int, size: int) -> bytes:
    """As much of a file's beginning as tells its format."""
    head = os.pread(fd, FIRST_BYTES, 0)
    if size <= FIRST_BYTES:
        return head
    if head.strip(b"\0"):  # something is there: perhaps a header that goes on
        return head + os.pread(fd, HEADER_BYTES - FIRST_BYTES, FIRST_BYTES)
    if size > ISO_AT:  # a CD's begins with zeros
        rest = os.pread(fd, HEADER_BYTES - ISO_AT, ISO_AT)
        if rest.strip(b"\0"):
            return head.ljust(ISO_AT, b"\0") + rest
    return head


def _tail(fd: int, name: str, size: int) -> bytes:
    if not name.lower().endswith(".dmg") or size < TRAILER:
        return b""
    return os.pread(fd, TRAILER, size - TRAILER)


def _label(fd: int) -> str:
    with contextlib.suppress(OSError):
        return os.getxattr(fd, "security.selinux").rstrip(b"\0").decode(errors="replace")
    return ""


def _volume_info(
    path: str,
    name: str,
    status: os.stat_result,
    *,
    type_: str,
    image: ImageInfo,
    size: int,
    label: str = "",
) -> VolumeInfo:
    is_folder = type_ == "dir"
    features = ("lazy_refcounts",) * image.lazy_refcounts + ("extended_l2",) * image.extended_l2
    return VolumeInfo(
        name=name,
        key=path,
        path=path,
        type=type_,
        format=image.format_name,
        capacity=0 if is_folder else image.size_for_guest(size),
        allocation=0 if is_folder else allocation(status, size),
        physical=0 if is_folder else size,
        mode=status.st_mode & PERMISSIONS,
        owner=status.st_uid,
        group=status.st_gid,
        label=label,
        times=timestamps(status),
        backing=_backing(path, image),
        compat=image.compat,
        features=features,
        cluster_size=image.cluster_size or 0 if image.format == "qcow2" else 0,
        encryption=ENCRYPTIONS.get(image.encryption, ""),
    )


#: What the header calls it, and what documents do.
ENCRYPTIONS: Final = {"aes": "qcow", "luks": "luks", "luks2": "luks2"}


def allocation(status: os.stat_result, size: int) -> int:
    """The bytes that a file takes of its file system; a device takes all of its own."""
    return status.st_blocks * 512 if stat.S_ISREG(status.st_mode) else size


def timestamps(status: os.stat_result) -> tuple[int, ...]:
    """When it was read, written and changed, in ns since the epoch."""
    return (status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns)


def _backing(path: str, image: ImageInfo) -> Backing | None:
    """What an image lies on, as its header says; it is never opened."""
    if image.backing_file is None:
        return None
    try:
        place = parse_backing_name(image.backing_file, path)
    except ConfError:
        return Backing(path=image.backing_file, format=image.backing_format or "raw")
    form = image.backing_format or place.format or "raw"
    if place.remote:
        return Backing(path=place.remote, format=form)
    try:
        status = os.stat(place.path)
    except OSError:
        return Backing(path=place.path, format=form)
    return Backing(
        path=place.path,
        format=form,
        mode=status.st_mode & PERMISSIONS,
        owner=status.st_uid,
        group=status.st_gid,
        times=timestamps(status),
    )
