"""Socket activation: sockets passed by a service manager from descriptor 3 on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

#: Binds sockets, puts them at 3 and 4, and prints which sides the daemon takes them for.
PROGRAM = """
import os, socket, sys
from supervisor.root.sockets import passed_sockets
ends = []
for number, path in enumerate(sys.argv[2:]):
    end = socket.socket(socket.AF_UNIX)
    end.bind(path)
    ends.append(os.dup2(end.detach(), 100 + number))
for number, end in enumerate(ends):
    os.dup2(end, 3 + number)
names = sys.argv[1]
environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(ends)), "LISTEN_FDNAMES": names}
found = passed_sockets(environ, {})
print(sorted((side, end.getsockname().rsplit("/")[-1]) for side, end in found.items()), environ)
print([os.get_inheritable(end.fileno()) for end in found.values()], file=sys.stderr)
os._exit(0 if all(end.fileno() >= 3 for end in found.values()) else 1)
"""


def sides(folder: Path, names: str, *files: str) -> str:
    """What the daemon makes of sockets bound to these files."""
    command = [sys.executable, "-u", "-c", PROGRAM, names, *(str(folder / file) for file in files)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


def test_passed_sockets_are_identified_by_their_path(tmp_path: Path) -> None:
    found = sides(tmp_path, "", "libvirt-sock-ro", "libvirt-sock")
    assert found == "[('ro', 'libvirt-sock-ro'), ('rw', 'libvirt-sock')] {}\n"


def test_passed_sockets_elsewhere_are_identified_by_their_name(tmp_path: Path) -> None:
    found = sides(tmp_path, "libvirtd-ro.socket:libvirtd.socket", "a", "b")
    assert found == "[('ro', 'a'), ('rw', 'b')] {}\n"


def test_passed_sockets_without_a_name_are_identified_by_position(tmp_path: Path) -> None:
    assert sides(tmp_path, "", "a", "b") == "[('ro', 'b'), ('rw', 'a')] {}\n"


def test_the_admin_socket_is_taken(tmp_path: Path) -> None:
    found = sides(tmp_path, "", "libvirt-sock", "libvirt-admin-sock")
    assert found == "[('admin', 'libvirt-admin-sock'), ('rw', 'libvirt-sock')] {}\n"


@pytest.mark.parametrize("file", ["libvirt-other-sock"])
def test_another_passed_socket_is_closed(tmp_path: Path, file: str) -> None:
    assert sides(tmp_path, "", "libvirt-sock", file) == "[('rw', 'libvirt-sock')] {}\n"
