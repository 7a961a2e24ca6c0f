"""Stock clients over TCP and TLS."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import CLIENT, authority, issue, write_client, write_server
from tests.clients.daemon import VIRSH, Daemon
from tests.clients.event_watch import wait_until
from tests.unit.authd.sasl_client import write_users

CA = authority()
CONFIG = """
listen_tcp = 1
listen_addr = "localhost"
auth_tcp = "none"
tls_port = "{tls}"
tcp_port = "{tcp}"
tls_allowed_dn_list = ["O=Example,CN=admin*"]
"""


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nothing listens on."""
    ends = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [end.getsockname()[1] for end in ends]
    for end in ends:
        end.close()
    return ports


class Remote:
    """A daemon that listens, and the folders of its clients' certificates."""

    def __init__(self, daemon: Daemon, tls: int, tcp: int) -> None:
        self.daemon, self.tls, self.tcp = daemon, tls, tcp

    def virsh(self, uri: str, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [VIRSH, "-c", uri, *command], capture_output=True, text=True, timeout=60, check=False
        )

    def reload(self, line: str) -> None:
        """Send SIGHUP and wait for a line in the log."""
        assert self.daemon.process is not None
        self.daemon.process.send_signal(signal.SIGHUP)
        self.wait_logged(line)

    def wait_logged(self, text: str) -> None:
        """Wait until the log has a text: a client can know of its end before."""
        wait_until(text, lambda: text in self.daemon.log.read_text())

    def tls_uri(self, client: str) -> str:
        return f"qemu+tls://localhost:{self.tls}/system?pkipath={self.daemon.root}/{client}"


@pytest.fixture(scope="module")
def remote() -> Iterator[Remote]:
    tls, tcp = free_ports(2)
    daemon = Daemon(arguments=["--verbose", "--listen"])
    write_server(daemon.root / "etc/pki", CA, issue("localhost", CA))
    (daemon.root / "etc/libvirt").mkdir(parents=True)
    (daemon.root / "etc/libvirt/libvirtd.conf").write_text(CONFIG.format(tls=tls, tcp=tcp))
    for name in ("admin", "guest"):
        write_client(daemon.root / name, CA, issue(name, CA, purpose=CLIENT))
    write_client(daemon.root / "anonymous", CA, None)
    with daemon:
        yield Remote(daemon, tls, tcp)


def test_virsh_manages_domains_over_tls(remote: Remote, tmp_path: Path) -> None:
    domain = tmp_path / "d.xml"
    domain.write_text(
        "<domain type='qemu'><name>far</name><memory>32768</memory>"
        "<os><type arch='x86_64'>hvm</type></os></domain>"
    )
    uri = remote.tls_uri("admin")
    assert remote.virsh(uri, "define", str(domain)).returncode == 0
    listed = remote.virsh(uri, "list --all --name; dumpxml far; undefine far; uri")
    assert listed.returncode == 0, listed.stderr
    assert "<name>far</name>" in listed.stdout
    assert f"qemu+tls://localhost:{remote.tls}/system" in listed.stdout


def test_a_client_over_tls_is_secure_and_one_over_tcp_is_not(remote: Remote) -> None:
    script = (
        "import libvirt, sys\nfor uri in sys.argv[1:]:\n    c = libvirt.open(uri)\n"
        "    print(c.isSecure(), c.isEncrypted())\n"
    )
    tcp = f"qemu+tcp://localhost:{remote.tcp}/system"
    done = subprocess.run(
        ["/usr/bin/python3", "-c", script, remote.tls_uri("admin"), tcp],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "1 1\n0 0\n"


@pytest.mark.parametrize(
    ("client", "reason"),
    [
        ("guest", "not in tls_allowed_dn_list"),
        ("anonymous", "TLS: peer did not return a certificate"),
    ],
)
def test_a_refused_client_is_named_in_the_log(remote: Remote, client: str, reason: str) -> None:
    refused = remote.virsh(remote.tls_uri(client), "uri")
    assert refused.returncode == 1
    assert "Unable to read TLS confirmation" in refused.stderr
    remote.wait_logged(reason)


def test_certificates_are_reread_and_bad_ones_leave_the_last(remote: Remote) -> None:
    other = authority("Next CA")
    pki = remote.daemon.root / "etc/pki"
    write_client(remote.daemon.root / "next", other, issue("admin2", other, purpose=CLIENT))
    (pki / "libvirt/servercert.pem").write_text("rubbish")
    remote.reload("the TLS certificates are not reloaded")
    assert remote.virsh(remote.tls_uri("admin"), "uri").returncode == 0
    write_server(pki, other, issue("localhost", other))
    remote.reload("the TLS certificates are reloaded")
    assert remote.virsh(remote.tls_uri("next"), "uri").returncode == 0
    # Neither side knows the other's CA any more: virsh may end by SIGPIPE when it says so.
    assert remote.virsh(remote.tls_uri("admin"), "uri").returncode != 0


def test_a_daemon_without_certificates_does_not_start() -> None:
    daemon = Daemon(arguments=["--listen"])
    try:
        with pytest.raises(RuntimeError, match="Cannot read CA certificate"):
            daemon.start()
    finally:
        daemon.clean_up()


SASL_CONFIG = """
listen_tcp = 1
listen_addr = "localhost"
auth_tls = "sasl"
tls_port = "{tls}"
tcp_port = "{tcp}"
sasl_allowed_username_list = ["alice*"]
auth_unix_ro = "sasl"
"""


@pytest.fixture(scope="module")
def authenticating() -> Iterator[Remote]:
    tls, tcp = free_ports(2)
    daemon = Daemon(arguments=["--verbose", "--listen"])
    write_server(daemon.root / "etc/pki", CA, issue("localhost", CA))
    write_client(daemon.root / "admin", CA, issue("admin", CA, purpose=CLIENT))
    (daemon.root / "etc/libvirt").mkdir(parents=True)
    (daemon.root / "etc/libvirt/libvirtd.conf").write_text(SASL_CONFIG.format(tls=tls, tcp=tcp))
    write_users(daemon.root, "scram-sha-256 digest-md5", alice="secret", bob="secret")
    for name, user, password in (
        ("right", "alice", "secret"),
        ("wrong", "alice", "guessed"),
        ("other", "bob", "secret"),
    ):
        (daemon.root / f"{name}.conf").write_text(
            f"[credentials-x]\nauthname={user}\npassword={password}\n"
            "[auth-libvirt-default]\ncredentials=x\n"
        )
    with daemon:
        yield Remote(daemon, tls, tcp)


def with_credentials(remote: Remote, door: str, name: str) -> str:
    """A URI whose user and password are in a file."""
    file = f"authfile={remote.daemon.root}/{name}.conf"
    if door == "tls":
        return f"{remote.tls_uri('admin')}&{file}"
    if door == "unix":
        return f"{remote.daemon.read_only_uri}&{file}"
    return f"qemu+tcp://localhost:{remote.tcp}/system?{file}"


@pytest.mark.parametrize("door", ["tls", "tcp", "unix"])
def test_sasl_lets_users_in_by_each_door_and_refuses_others(
    authenticating: Remote, door: str
) -> None:
    commands = ("version", "list --all", "nodeinfo", "capabilities")  # more than one layer's packet
    right = authenticating.virsh(
        with_credentials(authenticating, door, "right"), ";".join(commands)
    )
    assert right.returncode == 0, right.stderr
    assert "</capabilities>" in right.stdout
    for name, reason in (("wrong", "authenticat"), ("other", "not in sasl_allowed_username_list")):
        refused = authenticating.virsh(with_credentials(authenticating, door, name), "version")
        assert refused.returncode == 1
        assert "authentication failed: authentication failed" in refused.stderr
        authenticating.wait_logged(reason)
    assert "secret" not in authenticating.daemon.log.read_text()


def test_connections_without_a_layer_survive_the_end_of_authd(authenticating: Remote) -> None:
    script = (
        "import libvirt, os, sys\n"
        "kinds = [libvirt.VIR_CRED_AUTHNAME, libvirt.VIR_CRED_PASSPHRASE]\n"
        "auth = [kinds, lambda *_: -1, None]  # the file has them\n"
        "layered, tls = (libvirt.openAuth(uri, auth, 0) for uri in sys.argv[2:])\n"
        "assert layered.isSecure() and tls.isSecure()\n"
        "os.kill(int(sys.argv[1]), 9)\n"
        "print(tls.numOfDefinedDomains())\n"
        "try:\n    layered.getCapabilities()\nexcept libvirt.libvirtError:\n    print('lost')\n"
    )
    (authd,) = [row for row in authenticating.daemon.status() if row["name"] == "authd"]
    doors = [with_credentials(authenticating, door, "right") for door in ("tcp", "tls")]
    done = subprocess.run(
        ["/usr/bin/python3", "-c", script, str(authd["pid"]), *doors],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == ["0", "lost"]
    assert authenticating.virsh(doors[0], "version").returncode == 0  # it was started again
