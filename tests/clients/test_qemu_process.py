"""Who QEMU runs as, within which limits, and what the log says of it."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.clients.daemon import Daemon
from tests.clients.domains import idle

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="QEMU's user changes only under root")

QEMU_CONF: Final = "etc/libvirt/qemu.conf"


def has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


@contextmanager
def daemon_with(qemu_conf: str, *command: str) -> Iterator[Daemon]:
    """A daemon with these settings, started by a command in front of its own."""
    daemon = Daemon(wrapper=list(command))
    path = daemon.root / QEMU_CONF
    path.parent.mkdir(parents=True)
    path.write_text(qemu_conf)
    with daemon:
        yield daemon


def limits(pid: int) -> dict[str, list[str]]:
    """The soft and the hard limit of each name in /proc/PID/limits."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]
    return {line[:26].strip(): line[26:].split()[:2] for line in lines}


def started(daemon: Daemon, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "domain.xml"
    path.write_text(idle("limited"))
    return daemon.virsh("create", str(path))


#: Without CAP_SYS_RESOURCE no process may change the limits of another user's.
WITHOUT: Final = ("setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource")


def test_qemu_starts_under_its_own_user_without_cap_sys_resource(tmp_path: Path) -> None:
    conf = 'user = "nobody"\ngroup = "nogroup"\nmax_files = 900\n'
    with daemon_with(conf, *WITHOUT) as daemon:
        done = started(daemon, tmp_path)
        assert done.returncode == 0, done.stderr
        (pid,) = daemon.emulators()
        assert Path(f"/proc/{pid}").stat().st_uid == pwd.getpwnam("nobody").pw_uid
        assert limits(pid)["Max core file size"] == ["0", "0"]
        assert limits(pid)["Max open files"] == ["900", "900"]


def test_a_limit_that_qemu_conf_asks_for_and_the_kernel_refuses_refuses_the_start(
    tmp_path: Path,
) -> None:
    conf = 'user = "nobody"\ngroup = "nogroup"\nmax_core = "unlimited"\n'
    with daemon_with(conf, "prlimit", "--core=1048576", *WITHOUT) as daemon:
        done = started(daemon, tmp_path)
        assert done.returncode == 1
        assert "cannot limit core file size to unlimited" in done.stderr
        assert "max_core" in done.stderr
        assert not list(daemon.emulators())


@pytest.mark.skipif(has_user("libvirt-qemu"), reason="this host has the user libvirt-qemu")
def test_without_libvirt_qemu_qemu_runs_by_the_number_of_it_and_never_as_root(
    tmp_path: Path,
) -> None:
    with daemon_with("") as daemon:
        assert started(daemon, tmp_path).returncode == 0
        warnings = [line for line in daemon.log.read_text().splitlines() if "runs as 64055" in line]
        assert len(warnings) == 1
        assert " WARNING " in warnings[0]
        assert "'limited'" in warnings[0]
        assert "libvirt-qemu" in warnings[0]
        (pid,) = daemon.emulators()
        assert Path(f"/proc/{pid}").stat().st_uid == 64055
        argv = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        assert argv[argv.index("-sandbox") + 1].startswith("on,")
        assert limits(pid)["Max core file size"] == ["0", "0"]


def test_a_qemu_that_is_root_because_qemu_conf_says_so_is_not_warned_of(tmp_path: Path) -> None:
    with daemon_with('user = "root"\ngroup = "root"\n') as daemon:
        assert started(daemon, tmp_path).returncode == 0
        assert "runs as" not in daemon.log.read_text()
        (pid,) = daemon.emulators()
        assert Path(f"/proc/{pid}").stat().st_uid == 0


def test_a_process_is_named_and_a_guest_unlabelled_as_qemu_conf_says(tmp_path: Path) -> None:
    with daemon_with("set_process_name = 1\nsecurity_default_confined = 0\n") as daemon:
        assert started(daemon, tmp_path).returncode == 0
        (pid,) = daemon.emulators()
        assert Path(f"/proc/{pid}/comm").read_text() == "qemu:limited\n"
        assert "<seclabel" not in daemon.ok("dumpxml", "limited")
        assert Path(f"/proc/{pid}").stat().st_uid != 0
