"""virt-ssh-helper: which socket a URI leads to, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.ctl.ssh_socket_proxy import (
    ProxyError,
    Request,
    connect,
    find_daemon,
    parse,
    plan,
)

USER = 1000
HOME = {"HOME": "/home/alice", "XDG_RUNTIME_DIR": "/run/user/1000"}


def target(uri: str, *, user: int = 0, is_readonly: bool = False) -> tuple[str, bool]:
    chosen = plan(Request(uri, is_readonly, None), HOME, user)
    return str(chosen.socket), chosen.may_start


@pytest.mark.parametrize("uri", ["qemu:///system", "lxc:///", "qemu:///system?foo=bar", "a://"])
@pytest.mark.parametrize("user", [0, USER])
def test_a_system_uri_leads_to_the_systems_sockets(uri: str, user: int) -> None:
    assert target(uri, user=user) == ("/run/libvirt/libvirt-sock", False)
    read_only = target(uri, user=user, is_readonly=True)
    assert read_only == ("/run/libvirt/libvirt-sock-ro", False)


def test_a_session_is_the_users_own_and_roots_is_the_systems() -> None:
    assert target("qemu:///session", user=USER) == ("/run/user/1000/libvirt/libvirt-sock", True)
    assert target("qemu:///session") == ("/run/libvirt/libvirt-sock", False)


def test_a_session_daemon_is_not_started_where_the_environment_forbids_it() -> None:
    environ = {**HOME, "LIBVIRT_AUTOSTART": "0"}
    assert not plan(Request("qemu:///session", False, None), environ, USER).may_start


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("qemu+tls://host/system", "unexpected URI transport"),
        ("qemu+unix:///system", "unexpected URI transport"),
        ("/system", "missing scheme"),
        ("qemu", "missing scheme"),
        ("", "missing scheme"),
    ],
)
def test_a_uri_that_is_not_a_local_one_is_refused(uri: str, reason: str) -> None:
    with pytest.raises(ProxyError, match=reason):
        target(uri)


def test_the_command_line_is_stocks() -> None:
    assert parse(["qemu:///system"]) == Request("qemu:///system", False, None)
    for option in ("-r", "--readonly"):
        assert parse([option, "qemu:///system"]) == Request("qemu:///system", True, None)
    version, usage = parse(["-V"]), parse(["--help"])
    assert isinstance(version, str)
    assert "9.0.0" in version
    assert isinstance(usage, str)
    assert "--readonly" in usage
    for wrong in ([], ["a://", "b://"], ["--bogus", "a://"]):
        with pytest.raises(ProxyError):
            parse(wrong)


def test_a_socket_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = plan(Request("qemu:///system", False, tmp_path), HOME, 0)
    with pytest.raises(ProxyError, match=f"{tmp_path}/run/libvirt/libvirt-sock.*No such file"):
        connect(missing, HOME)


def test_libvirtd_is_that_of_the_environment_or_of_the_same_installation(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/virt-ssh-helper"
    with pytest.raises(ProxyError, match="no libvirtd"):
        find_daemon({}, program)
    (tmp_path / "sbin").mkdir()
    (tmp_path / "sbin/libvirtd").touch()
    assert find_daemon({}, program) == tmp_path / "sbin/libvirtd"
    assert find_daemon({"LIBVIRTD_PATH": "/opt"}, program) == Path("/opt/libvirtd")
