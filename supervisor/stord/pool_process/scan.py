"""Lists the volumes of a directory and reads their sizes, formats and owners.

Owns: that scan. May touch, to read: the directory and its files; the backing files that image
headers name, by stat only.
Runs in the pool's helper process: every function here may block.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
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
from supervisor.stord.pool_process.known_images import KnownImages
from supervisor.stord.pool_process.messages import CheckChain, GetSpace, Scan, Stat
from supervisor.stord.pool_process.temporary_names import is_temporary
from supervisor.stord.volume_info import Backing, PoolInfo, VolumeInfo

FIRST_BYTES: Final = 4096  # enough for most headers; a second read fetches the rest
ISO_OFFSET: Final = 32 * 1024  # ISO 9660: the first 16 sectors are unused, often zero
PERMISSION_BITS: Final = 0o777
DMG_TRAILER: Final = 512  # bytes; a dmg has its magic there
SELINUX: Final = "/sys/fs/selinux/enforce"
RAW: Final = ImageInfo(format="raw")  # what is in a file that is known to be no image
#: Characters that XML 1.0 has no representation for, and undecodable bytes (surrogates).
_INVALID_IN_XML: Final = re.compile("[\x00-\x1f\ud800-\udfff\ufffe\uffff]")
OPTIONS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK


class VolumeScan:
    """Handles requests about existing volumes."""

    def __init__(self) -> None:
        self._known = KnownImages()

    @handles(Scan)
    def scan(self, request: Scan) -> PoolInfo:
        """List every volume of a directory."""
        labels = os.path.exists(SELINUX)
        with system_errors(f"read the directory '{request.directory}'"):
            space = filesystem_space(request.directory)
            self._known.begin()
            volumes = tuple(_volumes(request.directory, self._known, labels=labels))
        return PoolInfo(
            capacity=space.capacity,
            allocation=space.allocation,
            available=space.available,
            volumes=volumes,
        )

    @handles(Stat)
    def stat(self, request: Stat) -> VolumeInfo:
        """Describe one volume."""
        return describe_volume(request.directory, request.name, RAW if request.is_raw else None)

    @handles(CheckChain)
    def check_chain(self, request: CheckChain) -> Ack:
        """Check that a backing file can be read, and its backing chain.

        A device that is no disk, such as /dev/null, is left to qemu-img.
        """
        try:
            kind = stat.S_IFMT(os.stat(request.path).st_mode)
        except OSError as error:
            detail = f"inaccessible backing store volume {request.path}: {error.strerror}"
            raise VirError(
                ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.STORAGE, int1=error.errno or 0
            ) from error
        if request.format == "raw" or kind not in (stat.S_IFREG, stat.S_IFBLK):
            return Ack()
        with system_errors(f"read the backing chain of '{request.path}'"):
            try:
                resolve_chain(request.path, request.format, read_head)
            except ConfError as error:
                raise from_conf_error(error, ErrorDomain.STORAGE) from error
        return Ack()

    @handles(GetSpace)
    def get_space(self, request: GetSpace) -> PoolInfo:
        """Measure a directory's file system."""
        with system_errors(f"measure the directory '{request.directory}'"):
            return filesystem_space(request.directory)


def describe_volume(directory: str, name: str, image: ImageInfo | None = None) -> VolumeInfo:
    """Describe one volume, with the time of its birth where the file system knows it.

    Args:
        directory: the pool's.
        name: of the file.
        image: what is in it; None: it is read.

    Raises:
        VirError: NO_STORAGE_VOL; SYSTEM_ERROR: it cannot be read.
    """
    path = f"{directory}/{name}"
    with system_errors(f"stat '{path}'"):
        try:
            info = read_volume_info(directory, name, labels=os.path.exists(SELINUX), image=image)
        except FileNotFoundError:
            info = None
    if info is None:
        raise no_such_path(path)
    btime = btime_ns(path)
    return info if btime is None else replace(info, times=(*info.times, btime))


def describe_raw(fd: int, directory: str, name: str) -> VolumeInfo:
    """Describe an open raw file of a pool, as `describe_volume`.

    Raises:
        OSError: the kernel refuses.
    """
    status, path = os.fstat(fd), f"{directory}/{name}"
    label = _label(fd) if os.path.exists(SELINUX) else ""
    info = _volume_info(
        path, name, status, type_="file", image=RAW, size=status.st_size, label=label
    )
    btime = btime_ns(fd)
    return info if btime is None else replace(info, times=(*info.times, btime))


def no_such_path(path: str) -> VirError:
    """NO_STORAGE_VOL: there is no file at the volume's path."""
    detail = f"no storage vol with matching path '{path}'"
    return VirError(ErrorCode.NO_STORAGE_VOL, detail, ErrorDomain.STORAGE)


def read_head(path: str) -> OpenImage:
    """Read the first bytes of an image of a chain.

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
    """Measure a directory's file system."""
    space = os.statvfs(directory)
    capacity = space.f_blocks * space.f_frsize
    available = space.f_bfree * space.f_frsize
    return PoolInfo(capacity=capacity, available=available, allocation=capacity - available)


def _volumes(directory: str, known: KnownImages, *, labels: bool) -> Iterator[VolumeInfo]:
    """Yield every volume; files that vanish meanwhile or cannot be read are skipped."""
    with os.scandir(directory) as entries:
        for entry in entries:
            if is_temporary(entry.name) or not _is_valid_in_xml(entry.name):
                continue
            try:
                is_file = entry.is_file(follow_symlinks=False)  # d_type: no stat
                info = read_volume_info(
                    directory, entry.name, known, labels=labels, is_file=is_file
                )
            except OSError:
                continue
            if info is not None:
                yield info


def _is_valid_in_xml(name: str) -> bool:
    """Return whether XML can represent a file name."""
    return name.isprintable() or not _INVALID_IN_XML.search(name)


def read_volume_info(
    directory: str,
    name: str,
    known: KnownImages | None = None,
    *,
    labels: bool,
    is_file: bool = False,
    image: ImageInfo | None = None,
) -> VolumeInfo | None:
    """Describe one volume; None for a FIFO, a socket or a character device.

    Args:
        directory: the pool's.
        name: of the file.
        known: headers of regular files that were read before.
        labels: read SELinux labels.
        is_file: it is known to be a regular file.
        image: what is known to be in it; None: its header is read.

    Raises:
        OSError: it cannot be opened.
    """
    path = f"{directory}/{name}"
    if not is_file:
        status = os.stat(path)  # before the open, which rewinds a tape and starts a watchdog
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFDIR:
            is_directory = ImageInfo(format="dir")
            return _volume_info(path, name, status, type_="dir", image=is_directory, size=0)
        if kind not in (stat.S_IFREG, stat.S_IFBLK):
            return None
    fd = os.open(path, OPTIONS)
    try:
        status = os.fstat(fd)
        kind = stat.S_IFMT(status.st_mode)
        size = status.st_size if kind == stat.S_IFREG else os.lseek(fd, 0, os.SEEK_END)
        if known is not None and image is None:
            image = known.find(path, status)
        if image is None:
            image = read_image(_head(fd, size), _tail(fd, name, size))
            if known is not None and kind == stat.S_IFREG:
                known.add(path, status, image)
        label = _label(fd) if labels else ""
    finally:
        os.close(fd)
    type_ = "file" if kind == stat.S_IFREG else "block"
    return _volume_info(path, name, status, type_=type_, image=image, size=size, label=label)


def _head(fd: int, size: int) -> bytes:
    """Read as much of the beginning as the format detection needs."""
    head = os.pread(fd, FIRST_BYTES, 0)
    if size <= FIRST_BYTES:
        return head
    if head.strip(b"\0"):  # a header, perhaps a longer one
        return head + os.pread(fd, HEADER_BYTES - FIRST_BYTES, FIRST_BYTES)
    if size > ISO_OFFSET:  # perhaps an ISO 9660 image
        rest = os.pread(fd, HEADER_BYTES - ISO_OFFSET, ISO_OFFSET)
        if rest.strip(b"\0"):
            return head.ljust(ISO_OFFSET, b"\0") + rest
    return head


def _tail(fd: int, name: str, size: int) -> bytes:
    if not name.lower().endswith(".dmg") or size < DMG_TRAILER:
        return b""
    return os.pread(fd, DMG_TRAILER, size - DMG_TRAILER)


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
    is_directory = type_ == "dir"
    features = ("lazy_refcounts",) * image.lazy_refcounts + ("extended_l2",) * image.extended_l2
    return VolumeInfo(
        name=name,
        key=path,
        path=path,
        type=type_,
        format=image.format_name,
        capacity=0 if is_directory else image.size_for_guest(size),
        allocation=0 if is_directory else allocation(status, size),
        physical=0 if is_directory else size,
        mode=status.st_mode & PERMISSION_BITS,
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


#: Encryption in image headers and in <encryption format=''/>.
ENCRYPTIONS: Final = {"aes": "qcow", "luks": "luks", "luks2": "luks2"}


def allocation(status: os.stat_result, size: int) -> int:
    """Return the allocated bytes of a file, or the size of a block device."""
    return status.st_blocks * 512 if stat.S_ISREG(status.st_mode) else size


def timestamps(status: os.stat_result) -> tuple[int, ...]:
    """Return atime, mtime and ctime in ns since the epoch."""
    return (status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns)


def _backing(path: str, image: ImageInfo) -> Backing | None:
    """Describe the backing file that a header names; it is never opened."""
    if image.backing_file is None:
        return None
    try:
        reference = parse_backing_name(image.backing_file, path)
    except ConfError:
        return Backing(path=image.backing_file, format=image.backing_format or "raw")
    image_format = image.backing_format or reference.format or "raw"
    if reference.remote:
        return Backing(path=reference.remote, format=image_format)
    try:
        status = os.stat(reference.path)
    except OSError:
        return Backing(path=reference.path, format=image_format)
    return Backing(
        path=reference.path,
        format=image_format,
        mode=status.st_mode & PERMISSION_BITS,
        owner=status.st_uid,
        group=status.st_gid,
        times=timestamps(status),
    )
