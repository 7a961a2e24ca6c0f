"""virt-ssh-helper: connects a remote client's ssh session to the daemon's socket.

Owns: its command line, and the bytes between standard input, socket and standard output.
May touch: the daemon's sockets; it starts a user's session daemon. May not touch: the messages.
Exit status: 0 the connection ended, 1 it cannot be made; the reason is on standard error, which
virsh shows.

Clients of libvirt 6.8 and later run it on the other host for qemu+ssh://, qemu+libssh:// and
qemu+libssh2://. It decides where the socket is, which a client cannot know.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from supervisor.runtime.paths import Paths

PROGRAM: Final = "virt-ssh-helper"
VERSION: Final = f"{PROGRAM} (virtvisor) 0.1.0, behaving like libvirt 9.0.0"
USAGE: Final = f"""\
Usage:
  {PROGRAM} [OPTION…] URI

Connects standard input and output to the socket of the libvirtd on this host. Clients run it
through ssh; see docs/remote.md.

Options:
  -h, --help         Show this text
  -r, --readonly     Connect read-only
  -V, --version      Show the version
      --root DIR     The daemon's --root
"""
CHUNK: Final = 65536
START_S: Final = 30.0  # for a session daemon to start
RETRY_S: Final = 0.05
IDLE_S: Final = 120  # a session daemon without clients and guests exits after so long
FAILED: Final = 1


class ProxyError(Exception):
    """The connection cannot be made; the message says why."""


@dataclass(frozen=True, slots=True)
class Request:
    """A parsed command line."""

    uri: str
    is_readonly: bool
    root: Path | None


@dataclass(frozen=True, slots=True)
class Target:
    """The socket to connect to."""

    socket: Path
    may_start: bool  # a session daemon that does not run is started


def main() -> int:
    """Run the command; the console script."""
    try:
        request = parse(sys.argv[1:])
        if isinstance(request, str):
            sys.stdout.write(request)
            return 0
        end = connect(plan(request, os.environ, os.geteuid()), os.environ)
    except ProxyError as error:
        sys.stderr.write(f"{PROGRAM}: {error}\n")
        return FAILED
    copy(end)
    return 0


def parse(arguments: Sequence[str]) -> Request | str:
    """Parse the command line by hand: argparse would cost a third of the start.

    Returns:
        What to do, or a text to print.

    Raises:
        ProxyError: it is invalid.
    """
    uris: list[str] = []
    is_readonly, root = False, None
    words = iter(arguments)
    for word in words:
        if word in ("-h", "--help"):
            return USAGE
        if word in ("-V", "--version"):
            return f"{VERSION}\n"
        if word in ("-r", "--readonly"):
            is_readonly = True
        elif word == "--root":
            root = Path(next(words, "")).absolute()
        elif word == "--":
            uris.extend(words)
        elif word.startswith("-"):
            raise ProxyError(f"option parsing failed: Unknown option {word}")
        else:
            uris.append(word)
    if len(uris) != 1:
        raise ProxyError(f"one URI is needed\n{USAGE}")
    return Request(uris[0], is_readonly, root)


def plan(request: Request, environ: Mapping[str, str], user: int) -> Target:
    """Choose the socket, as libvirt does: root's sessions are the system daemon's. Pure.

    Raises:
        ProxyError: the URI has no scheme or names a transport, or there is no home folder.
    """
    found = re.fullmatch(r"([A-Za-z][A-Za-z0-9.+-]*)://[^/?#]*([^?#]*).*", request.uri)
    if found is None:
        raise ProxyError(f"cannot parse URI transport '{request.uri}': missing scheme for URI")
    if "+" in found[1]:
        raise ProxyError(f"unexpected URI transport '{request.uri}'")
    if found[2] == "/session" and user != 0 and request.root is None:
        try:
            paths = Paths.session(environ)
        except KeyError:
            raise ProxyError("HOME is not set: where the session's socket is is unknown") from None
        # A session has one socket: that a client may not write, its CONNECT_OPEN says.
        return Target(paths.socket(), environ.get("LIBVIRT_AUTOSTART") != "0")
    paths = Paths.system(request.root or Path("/"))
    return Target(
        paths.read_only_socket() if request.is_readonly else paths.socket(), may_start=False
    )


def connect(target: Target, environ: Mapping[str, str]) -> socket.socket:
    """Connect to the daemon; start it before if it is a session's and does not run.

    Raises:
        ProxyError: it cannot be reached.
    """
    try:
        return open_socket(target.socket)
    except OSError as error:
        # Refused: the socket's file outlived its daemon.
        absent = isinstance(error, (FileNotFoundError, ConnectionRefusedError))
        if not (absent and target.may_start):
            raise ProxyError(
                f"cannot connect to '{target.socket}': {error.strerror or error}"
            ) from error
    said = start_daemon(environ)
    until = time.monotonic() + START_S
    while True:
        try:
            return open_socket(target.socket)
        except OSError as error:
            # Another client may have been first: then ours has ended, and its socket comes yet.
            if time.monotonic() >= until:
                reason = said or error.strerror or str(error)
                raise ProxyError(f"cannot connect to '{target.socket}': {reason}") from error
        time.sleep(RETRY_S)


def open_socket(path: Path) -> socket.socket:
    """Connect to a Unix socket.

    Raises:
        OSError: it cannot be connected.
    """
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        end.connect(str(path))
    except OSError:
        end.close()
        raise
    return end


def start_daemon(environ: Mapping[str, str]) -> str:
    """Start the session daemon and wait until clients can connect.

    Returns:
        What it complained of; "": it is ready.

    Raises:
        ProxyError: it is not installed, or hangs.
    """
    program = find_daemon(environ, Path(sys.argv[0]))
    try:
        # Not with our streams: ssh waits for the end of whoever holds them.
        done = subprocess.run(
            [str(program), "--daemon", "--timeout", str(IDLE_S)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=START_S,
            start_new_session=True,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProxyError(f"cannot start {program}: {error}") from error
    return "" if done.returncode == 0 else done.stderr.decode(errors="replace").strip()


def find_daemon(environ: Mapping[str, str], program: Path) -> Path:
    """Locate libvirtd: in the folder that LIBVIRTD_PATH names, else where it was installed.

    Raises:
        ProxyError: it is in neither.
    """
    if folder := environ.get("LIBVIRTD_PATH"):
        return Path(folder) / "libvirtd"
    own = program.resolve().parent
    for place in (own.parent / "sbin/libvirtd", own / "libvirtd"):
        if place.exists():
            return place
    raise ProxyError(f"there is no libvirtd beside {own}")


def copy(end: socket.socket) -> None:
    """Copy both ways until the client or the daemon ends the connection."""
    # A thread for each direction: neither can hold the other up, and the streams, which may be
    # shared with a terminal, keep their mode.
    threading.Thread(target=copy_in, args=(end,), daemon=True).start()
    with contextlib.suppress(OSError):  # one side has gone: there is nobody to tell
        while data := end.recv(CHUNK):
            write_all(sys.stdout.fileno(), data)
    # The other thread may be in a read that never ends.
    os._exit(0)


def copy_in(end: socket.socket) -> None:
    """Copy from standard input; its end, or the daemon's, ends the connection."""
    with contextlib.suppress(OSError):
        while data := os.read(sys.stdin.fileno(), CHUNK):
            end.sendall(data)
    with contextlib.suppress(OSError):
        # What was sent is still read; and the other thread's wait ends.
        end.shutdown(socket.SHUT_RDWR)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of the bytes.

    Raises:
        OSError: the reader has gone.
    """
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


if __name__ == "__main__":
    sys.exit(main())
