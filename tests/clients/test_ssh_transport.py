"""Stock virsh through virt-ssh-helper, with a program in the place of ssh that logs in locally."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.clients.daemon import VIRSH, VIRTVISORCTL, Daemon
from tests.clients.event_watch import wait_until

PROXY: Final = Path(sys.executable).with_name("virt-ssh-helper")
#: ssh's own options and the host come first; the remote shell gets the last argument.
SSH: Final = '#!/bin/sh\nfor word; do :; done\nPATH="{folder}:$PATH" exec sh -c "$word"\n'


def write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Daemon() as running:
        write_program(running.root / "ssh", SSH.format(folder=running.root))
        write_program(
            running.root / "virt-ssh-helper",
            f'#!/bin/sh\nexec {PROXY} --root {running.root} "$@"\n',
        )
        yield running


@pytest.mark.parametrize("proxy", ["auto", "native"])
def test_virsh_manages_domains_over_ssh(daemon: Daemon, proxy: str) -> None:
    uri = f"qemu+ssh://host/system?command={daemon.root}/ssh&proxy={proxy}"
    done = daemon.virsh("version; capabilities; list --all", uri=uri)  # more than one buffer
    assert done.returncode == 0, done.stderr
    assert "</capabilities>" in done.stdout


def test_a_netcat_on_the_host_serves_as_well(daemon: Daemon) -> None:
    # Debian's nc may be missing: virsh's command line is met by one that connects likewise.
    netcat = daemon.root / "netcat"
    write_program(
        netcat,
        f"#!/bin/sh\n[ $1 != -q ] || {{ echo requires an argument >&2; exit 1; }}\n"
        f"exec {PROXY} --root {daemon.root} qemu:///system\n",
    )
    socket = f"{daemon.root}/run/libvirt/libvirt-sock"
    uri = (
        f"qemu+ssh://host/system?command={daemon.root}/ssh&proxy=netcat"
        f"&netcat={netcat}&socket={socket}"
    )
    assert daemon.virsh("hostname", uri=uri).returncode == 0


def test_a_read_only_client_over_ssh_may_not_change(daemon: Daemon) -> None:
    uri = f"qemu+ssh://host/system?command={daemon.root}/ssh"
    done = daemon.virsh("--readonly", "pool-define-as", "p", "dir", "--target", "/tmp", uri=uri)
    assert done.returncode == 1
    assert "read only" in done.stderr


def test_a_connection_ends_with_its_client_and_leaves_no_process(daemon: Daemon) -> None:
    client = subprocess.Popen(
        [PROXY, "--root", daemon.root, "qemu:///system"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert client.stdin is not None
    client.stdin.close()
    assert client.wait(10) == 0
    assert client.stdout is not None
    client.stdout.close()


def test_a_socket_that_is_not_there_is_told_to_the_user(daemon: Daemon) -> None:
    elsewhere = daemon.root / "elsewhere"
    write_program(elsewhere, f'#!/bin/sh\n{PROXY} --root /nonexistent "qemu:///system"\n')
    uri = f"qemu+ssh://host/system?command={elsewhere}"
    refused = daemon.virsh("uri", uri=uri)
    assert refused.returncode == 1
    assert "virt-ssh-helper: cannot connect to '/nonexistent/run/libvirt/libvirt-sock'" in (
        refused.stderr
    )


@pytest.fixture
def session() -> Iterator[tuple[Path, list[str], dict[str, str]]]:
    """A home folder, what makes a program run as its user, and its environment."""
    home = Path(tempfile.mkdtemp(prefix="vv-", dir="/tmp"))
    user: list[str] = []
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
        user = ["setpriv", "--reuid=nobody", f"--regid={nobody.pw_gid}", "--clear-groups"]
        # The checkout may lie in root's home.
        user += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_RUNTIME_DIR": f"{home}/run",
        "LIBVIRTD_PATH": str(PROXY.parent),
    }
    yield home, user, environ
    stop = "import os, sys; os.kill(int(open(sys.argv[1]).read()), 15)"
    pid_file = home / "run/libvirt/libvirtd.pid"
    if pid_file.exists():
        subprocess.run([sys.executable, "-c", stop, pid_file], check=True, timeout=10)
        wait_until("the session daemon's end", lambda: not pid_file.exists())
    shutil.rmtree(home)


def test_a_session_daemon_is_started_and_the_next_client_finds_it(
    session: tuple[Path, list[str], dict[str, str]],
) -> None:
    home, user, environ = session
    write_program(home / "ssh", SSH.format(folder=PROXY.parent))
    uri = f"qemu+ssh://host/session?command={home}/ssh"
    for _ in range(2):
        done = subprocess.run(
            [*user, VIRSH, "-c", uri, "uri"],
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "/session" in done.stdout
    status = subprocess.run(
        [*user, VIRTVISORCTL, "status", "--json"],
        env=environ,
        capture_output=True,
        timeout=20,
        check=True,
    )
    (root,) = [row for row in json.loads(status.stdout) if row["name"] == "root"]
    pid_file = home / "run/libvirt/libvirtd.pid"
    assert pid_file.read_text().strip() == str(root["pid"])
