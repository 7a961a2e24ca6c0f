"""The pid file, the listening sockets, and sd_notify."""

from __future__ import annotations

import grp
import os
import socket
from pathlib import Path

import pytest

from conf.settings import DaemonConfig
from supervisor.root.pidfile import AlreadyRunning, PidFile
from supervisor.root.sd_notify import notify
from supervisor.root.sockets import SocketError, bind, client_sockets, client_uri
from supervisor.runtime.paths import Paths


def test_a_second_daemon_gets_the_pid_of_the_first(tmp_path: Path) -> None:
    first = PidFile(tmp_path / "run/libvirtd.pid")
    with pytest.raises(AlreadyRunning, match=str(os.getpid())):
        PidFile(tmp_path / "run/libvirtd.pid")
    assert (tmp_path / "run/libvirtd.pid").read_text() == f"{os.getpid()}\n"
    first.remove()
    PidFile(tmp_path / "run/libvirtd.pid").remove()
    assert not (tmp_path / "run/libvirtd.pid").exists()


def test_an_unlocked_pid_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "libvirtd.pid").write_text("999999\nleft over")
    pid_file = PidFile(tmp_path / "libvirtd.pid")
    assert (tmp_path / "libvirtd.pid").read_text() == f"{os.getpid()}\n"
    pid_file.remove()


def test_the_sockets_have_the_modes_of_the_settings(tmp_path: Path) -> None:
    config = DaemonConfig(unix_sock_rw_perms="0750", unix_sock_ro_perms="0711")
    paths = Paths.system(tmp_path)
    sockets = client_sockets(paths, config, {}, session=False)
    assert paths.socket().stat().st_mode & 0o777 == 0o750
    assert paths.read_only_socket().stat().st_mode & 0o777 == 0o711
    assert sorted(sockets.sockets) == ["admin", "ro", "rw"]
    sockets.close()
    assert not paths.socket().exists()


def test_the_group_libvirt_may_use_the_socket_of_roots_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.root.sockets.GROUP", grp.getgrgid(os.getgid()).gr_name)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    paths = Paths.system(tmp_path)
    for config, mode in (
        (DaemonConfig(), 0o770),
        (DaemonConfig(unix_sock_rw_perms="0700"), 0o700),
    ):
        sockets = client_sockets(paths, config, {}, session=False)
        status = paths.socket().stat()
        assert (status.st_mode & 0o777, status.st_gid) == (mode, os.getgid())
        sockets.close()
    monkeypatch.setattr("supervisor.root.sockets.GROUP", "no-such-group")
    sockets = client_sockets(paths, DaemonConfig(), {}, session=False)
    assert paths.socket().stat().st_mode & 0o777 == 0o700
    sockets.close()


def test_the_uri_of_a_daemon_names_its_socket_where_clients_need_it(tmp_path: Path) -> None:
    config = DaemonConfig()
    assert client_uri(Paths.system(), config, session=False) == "qemu:///system"
    assert client_uri(Paths.system(), config, session=True) == "qemu:///session"
    elsewhere = client_uri(Paths.system(tmp_path), config, session=False)
    assert elsewhere == f"qemu+unix:///system?socket={tmp_path}/run/libvirt/libvirt-sock"


def test_the_session_daemons_sockets_have_mode_0700(tmp_path: Path) -> None:
    paths = Paths.session({"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")})
    sockets = client_sockets(paths, DaemonConfig(), {}, session=True)
    assert list(sockets.sockets) == ["rw", "admin"]
    assert paths.socket() == tmp_path / "run/libvirt/libvirt-sock"
    assert paths.socket().stat().st_mode & 0o777 == 0o700
    sockets.close()


def test_a_socket_of_a_killed_daemon_is_replaced(tmp_path: Path) -> None:
    bind(tmp_path / "sock", 0o700, None, 1).close()
    again = bind(tmp_path / "sock", 0o700, None, 1)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "sock"))
    again.close()


def test_an_unknown_unix_sock_group_is_an_error(tmp_path: Path) -> None:
    config = DaemonConfig(unix_sock_group="no-such-group")
    with pytest.raises(SocketError, match="no-such-group"):
        client_sockets(Paths.system(tmp_path), config, {}, session=False)


def test_notify_sends_the_state_to_the_service_manager(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        notify({"NOTIFY_SOCKET": str(tmp_path / "notify")}, "READY=1")
        assert manager.recv(100) == b"READY=1"
    notify({"NOTIFY_SOCKET": str(tmp_path / "gone")}, "READY=1")  # no receiver is no error
    notify({}, "READY=1")
