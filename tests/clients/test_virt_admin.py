"""Stock virt-admin: servers, clients, limits, the log, the timeout."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.clients.daemon import Daemon
from tests.clients.libvirt_binding import libvirt


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Daemon() as running:
        yield running


def admin(daemon: Daemon, *command: str) -> subprocess.CompletedProcess[str]:
    """Run virt-admin."""
    uri = f"libvirtd:///system?socket={daemon.root}/run/libvirt/libvirt-admin-sock"
    return subprocess.run(
        ["virt-admin", "-c", uri, *command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )


def shown(daemon: Daemon, *command: str) -> dict[str, str]:
    """The lines "name: value" that a command prints."""
    done = admin(daemon, *command)
    assert done.returncode == 0, done.stderr
    pairs = (line.split(":", 1) for line in done.stdout.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def test_servers_and_their_clients_are_listed_and_described(daemon: Daemon) -> None:
    assert admin(daemon, "srv-list").stdout.split()[-4:] == ["0", "libvirtd", "1", "admin"]
    connection = libvirt.open(daemon.read_only_uri)
    listed = admin(daemon, "srv-clients-list", "libvirtd").stdout.splitlines()[2:-1]
    number = listed[-1].split()[0]
    info = shown(daemon, "client-info", "libvirtd", number)
    expected = {"transport": "unix", "readonly": "yes", "unix_user_id": str(os.getuid())}
    assert expected.items() <= info.items()
    assert info["unix_process_id"] == str(os.getpid())
    assert shown(daemon, "srv-clients-info", "libvirtd")["nclients"] == "1"
    assert admin(daemon, "client-disconnect", "libvirtd", number).returncode == 0
    with pytest.raises(libvirt.libvirtError):
        connection.getVersion()
    assert "Client not found" in admin(daemon, "client-info", "libvirtd", number).stderr
    assert "Server not found" in admin(daemon, "srv-clients-info", "nosuch").stderr


def test_limits_hold_at_once(daemon: Daemon) -> None:
    change = ("srv-clients-set", "libvirtd", "--max-clients", "2", "--max-unauth-clients", "1")
    assert admin(daemon, *change).returncode == 0
    assert shown(daemon, "srv-clients-info", "libvirtd")["nclients_max"] == "2"
    wrong = admin(daemon, "srv-clients-set", "libvirtd", "--max-unauth-clients", "9")
    assert "invalid argument" in wrong.stderr
    back = ("srv-clients-set", "libvirtd", "--max-clients", "50", "--max-unauth-clients", "20")
    assert admin(daemon, *back).returncode == 0


def test_running_calls_stand_for_threads_and_cannot_be_set(daemon: Daemon) -> None:
    assert shown(daemon, "srv-threadpool-info", "libvirtd")["jobQueueDepth"] == "0"
    refused = admin(daemon, "srv-threadpool-set", "libvirtd", "--max-workers", "9")
    assert "no pool of threads" in refused.stderr


def test_the_log_changes_while_the_daemon_runs(daemon: Daemon) -> None:
    other = daemon.root / "other.log"
    assert admin(daemon, "daemon-log-filters", "--filters", "1:netd 4:rpcd").returncode == 0
    assert admin(daemon, "daemon-log-outputs", "--outputs", f"1:file:{other}").returncode == 0
    assert "1:*netd* 4:*rpcd* " in admin(daemon, "daemon-log-filters").stdout
    assert f"1:file:{other}" in admin(daemon, "daemon-log-outputs").stdout
    wrong = admin(daemon, "daemon-log-outputs", "--outputs", "7:nowhere")
    assert "invalid argument" in wrong.stderr
    assert daemon.virsh("domuuid", "nosuch").returncode == 1  # rpcd would log it at level 2
    daemon.ok("net-list")
    assert admin(daemon, "daemon-log-filters", "--filters", "").returncode == 0
    assert admin(daemon, "daemon-log-outputs", "--outputs", "").returncode == 0
    written = other.read_text()
    assert "an administrator changed the log" in written
    assert "nosuch" not in written


def test_certificates_need_a_tls_socket(daemon: Daemon) -> None:
    assert "no tls service found" in admin(daemon, "srv-update-tls", "libvirtd").stderr


def test_the_daemon_ends_after_the_timeout_that_is_set() -> None:
    with Daemon() as daemon:
        assert admin(daemon, "daemon-timeout", "--timeout", "1").returncode == 0
        assert daemon.process is not None
        assert daemon.process.wait(30) == 0
