"""Opens tap, macvtap and vhost-net devices: one file descriptor for each queue.

Owns: the ioctls of /dev/net/tun and /dev/tapN, and /dev/vhost-net.
May touch: those device files. May not touch: bridges.
Source: linux/if_tun.h.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from typing import Final

TUN: Final = "/dev/net/tun"
VHOST: Final = "/dev/vhost-net"
TUNSETIFF: Final = 0x400454CA
TUNSETPERSIST: Final = 0x400454CB
TUNSETOWNER: Final = 0x400454CC
TUNGETFEATURES: Final = 0x800454CF
IFF_TAP: Final = 0x0002
IFF_NO_PI: Final = 0x1000
IFF_VNET_HDR: Final = 0x4000
IFF_MULTI_QUEUE: Final = 0x0100
REQUEST: Final = struct.Struct("16sH22x")  # struct ifreq
MAX_NAME: Final = 15  # bytes of a link's name
MAX_QUEUES: Final = 256


def open_tap(name: str, *, queues: int = 1, user: int = -1) -> list[int]:
    """Create or open a tap; the kernel deletes it with its last descriptor.

    Args:
        name: of the link.
        queues: how many descriptors.
        user: uid that may open it, too; -1: none.

    Raises:
        OSError: the kernel refuses; EBUSY: another process has it open.
    """
    return _open_queues(queues, lambda: _tap_queue(name, queues, user))


def open_macvtap(index: int, *, queues: int = 1) -> list[int]:
    """Open the character device of a macvtap link.

    Args:
        index: of the link.
        queues: how many descriptors.

    Raises:
        OSError: there is no such device file, or it is open already.
    """
    return _open_queues(queues, lambda: _macvtap_queue(index, queues))


def open_vhost(count: int) -> list[int]:
    """Open /dev/vhost-net for each queue; empty where the kernel does not have it."""
    try:
        return _open_queues(count, lambda: os.open(VHOST, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.EPERM, errno.EACCES):
            return []
        raise


def _open_queues(count: int, open_queue: Callable[[], int]) -> list[int]:
    """Open all queues or none."""
    if not 1 <= count <= MAX_QUEUES:
        raise OSError(errno.E2BIG, f"an interface has 1 to {MAX_QUEUES} queues, not {count}")
    with contextlib.ExitStack() as rollback:
        fds = []
        for _ in range(count):
            fd = open_queue()
            rollback.callback(os.close, fd)
            fds.append(fd)
        rollback.pop_all()
    return fds


def _tap_queue(name: str, queues: int, user: int) -> int:
    with _device(TUN) as fds:
        fcntl.ioctl(fds[0], TUNSETIFF, _request(fds[0], name, queues))
        if user >= 0:
            fcntl.ioctl(fds[0], TUNSETOWNER, user)
        return fds.pop()


def _macvtap_queue(index: int, queues: int) -> int:
    # devtmpfs names the device by the link's index; the link's name is not part of the request.
    with _device(f"/dev/tap{index}") as fds:
        fcntl.ioctl(fds[0], TUNSETIFF, _request(fds[0], "", queues))
        return fds.pop()


@contextlib.contextmanager
def _device(path: str) -> Iterator[list[int]]:
    """Open a device file; descriptors left in the list are closed at the end."""
    opened = [os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)]
    try:
        yield opened
    finally:
        for fd in opened:
            os.close(fd)


def _request(fd: int, name: str, queues: int) -> bytes:
    # IFF_VNET_HDR puts a virtio_net_hdr before each packet: QEMU needs it for offloads.
    features = struct.unpack("I", fcntl.ioctl(fd, TUNGETFEATURES, bytes(4)))[0]
    flags = IFF_TAP | IFF_NO_PI | (features & IFF_VNET_HDR)
    if queues > 1:
        flags |= IFF_MULTI_QUEUE
    encoded = name.encode()
    if len(encoded) > MAX_NAME:
        raise OSError(errno.EINVAL, f"device name '{name}' is longer than {MAX_NAME} bytes")
    return REQUEST.pack(encoded, flags)
