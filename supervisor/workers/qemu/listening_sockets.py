"""Sockets on which QEMU listens in folders where its user may make none: it inherits them.

Owns: making and removing them. May touch: the paths that a domain's character devices name.
Source: libvirt 9.0, which makes the Unix sockets of character devices itself; OpenStack names one
in /var/lib/libvirt/qemu for the guest agent.

A folder of QEMU's own user is left to QEMU: nothing is made there by root.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import stat
from collections.abc import Iterable

from conf.domain.devices.chardev import CharSource
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.runtime.emulator_user import User

MODE = 0o775  # as QEMU's own under libvirt's umask

log = logging.getLogger(__name__)


def listen_for_qemu(
    sources: Iterable[tuple[str, CharSource]],
    user: User,
    closing: contextlib.ExitStack,
    undo: contextlib.AsyncExitStack,
) -> dict[str, int]:
    """Listen on the paths of devices that QEMU's user could not listen on.

    Args:
        sources: the backends of devices, by alias.
        user: of QEMU.
        closing: closes the descriptors.
        undo: removes the sockets.

    Returns:
        Listening descriptors, by alias.

    Raises:
        VirError: SYSTEM_ERROR naming the path.
    """
    descriptors: dict[str, int] = {}
    for alias, source in sources:
        path = path_of(source, user)
        if path:
            end = _listen(path, user)
            closing.callback(end.close)
            undo.callback(remove_socket, path)
            descriptors[alias] = end.fileno()
    return descriptors


def path_of(source: CharSource, user: User) -> str:
    """Return the path of a socket that is made for QEMU; "": QEMU makes it, or there is none."""
    if source.type != "unix" or not source.listens or not source.path or user.is_own:
        return ""
    with contextlib.suppress(OSError):
        if os.stat(os.path.dirname(source.path)).st_uid != user.uid:
            return source.path
    return ""  # QEMU's message says what is wrong with the folder


def remove_sockets(sources: Iterable[CharSource]) -> None:
    """Remove what was made for QEMU: sockets whose owner has not their folder."""
    for source in sources:
        path = source.path or ""
        if source.type != "unix" or not source.listens or not path:
            continue
        with contextlib.suppress(OSError):  # it is gone, or was never made
            if os.lstat(path).st_uid != os.stat(os.path.dirname(path)).st_uid:
                remove_socket(path)


def remove_socket(path: str) -> None:
    """Remove a socket, and nothing else that has its name."""
    try:
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("the socket %s cannot be removed: %s", path, error.strerror)


def _listen(path: str, user: User) -> socket.socket:
    """Listen on a path, in place of a socket that an earlier guest has left there."""
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        remove_socket(path)
        end.bind(path)
        _give(path, user)
        end.listen(1)
    except OSError as error:
        end.close()
        reason = error.strerror or str(error)  # a path that is too long has no errno
        detail = f"Unable to bind to UNIX socket path '{path}': {reason}"
        number = error.errno or errno.ENAMETOOLONG
        raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.QEMU, int1=number) from error
    return end


def _give(path: str, user: User) -> None:
    """Give the new socket to QEMU's user, by its descriptor: others may write to its folder."""
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            raise OSError(errno.EEXIST, "another file was put in its place", path)
        os.chmod(f"/proc/self/fd/{fd}", MODE)
        os.chown(f"/proc/self/fd/{fd}", user.uid, user.gid)
    finally:
        os.close(fd)
