"""The daemon as a program: start, status, signals, errors, stop."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.root.roles import SERVICES

DEADLINE_S = 40.0


class Running:
    """A daemon with its own --root, and the receiver of its sd_notify messages."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(str(root / "notify"))
        self.manager.settimeout(DEADLINE_S)
        self.log = (root / "stderr").open("wb")
        self.process = self.start("--verbose")

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Start a daemon on this root."""
        return subprocess.Popen(
            [sys.executable, "-m", "supervisor.root.main", "--root", str(self.root), *options],
            env={**os.environ, "NOTIFY_SOCKET": str(self.root / "notify")},
            stderr=self.log,
        )

    def notification(self) -> str:
        """The next message to the service manager."""
        return self.manager.recv(100).decode()

    def status(self) -> dict[str, dict[str, object]]:
        """The process tree, as virtvisorctl prints it."""
        answer = self.ctl("status", "--json")
        return {row["name"]: row for row in json.loads(answer.stdout)}

    def ctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run virtvisorctl."""
        command = [
            sys.executable,
            "-m",
            "supervisor.ctl.virtvisorctl",
            "--root",
            str(self.root),
            *words,
        ]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )

    def close(self) -> None:
        """End it, whatever the test left."""
        self.process.kill()
        self.process.wait(DEADLINE_S)
        self.manager.close()
        self.log.close()


@pytest.fixture(scope="module")
def daemon() -> Iterator[Running]:
    """One daemon for this module: socket paths are short, so its root is."""
    folder = Path(tempfile.mkdtemp(prefix="vv"))
    hooks = folder / "etc/libvirt/hooks"
    hooks.mkdir(parents=True)
    (hooks / "daemon").write_text(f'#!/bin/sh\necho "$@" >> {folder}/hooked\n')
    (hooks / "daemon").chmod(0o755)
    running = Running(folder)
    try:
        assert running.notification() == "READY=1"
        assert {row["state"] for row in running.status().values()} == {"running"}, (
            folder / "stderr"
        ).read_text()
        yield running
    finally:
        running.close()
        shutil.rmtree(folder)


def test_the_status_names_every_process(daemon: Running) -> None:
    rows = daemon.status()
    assert list(rows) == ["root", "zygote", *(role.name for role in SERVICES)]
    assert {row["state"] for row in rows.values()} == {"running"}
    assert rows["root"]["pid"] == daemon.process.pid
    for row in rows.values():
        assert set(row) >= {"name", "pid", "state", "restarts", "uptime_s", "private_kib"}
    assert sum(int(str(row["private_kib"])) for row in rows.values()) < 120 * 1024
    table = daemon.ctl("status").stdout.splitlines()
    assert table[0].split() == ["NAME", "PID", "STATE", "RESTARTS", "UPTIME", "PRIVATE"]
    assert [line.split()[0] for line in table[1:]] == list(rows)


def test_every_descriptor_of_the_tree_is_close_on_exec(daemon: Running) -> None:
    left = []
    for name, row in daemon.status().items():
        folder = Path(f"/proc/{row['pid']}")
        for info in (folder / "fdinfo").iterdir():
            number, text = int(info.name), info.read_text()
            flags = int(text.partition("flags:")[2].split()[0], 8)
            if number > 2 and not flags & os.O_CLOEXEC:
                left.append((name, number, os.readlink(folder / "fd" / info.name)))
    assert not left


def test_virtvisorctl_fails_without_a_daemon(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "supervisor.ctl.virtvisorctl",
        "--root",
        str(tmp_path),
        "status",
    ]
    asked = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert asked.returncode == 1
    assert "no daemon answers" in asked.stderr


@pytest.mark.parametrize("options", [[], ["--daemon"]])
def test_a_second_daemon_exits_and_the_first_runs_on(daemon: Running, options: list[str]) -> None:
    before = (daemon.root / "stderr").read_text()
    second = daemon.start(*options)
    assert second.wait(DEADLINE_S) == 1
    assert "another libvirtd" in (daemon.root / "stderr").read_text()[len(before) :]
    assert daemon.status()["root"]["pid"] == daemon.process.pid


def test_sighup_reloads_the_configuration_and_ignores_an_invalid_one(daemon: Running) -> None:
    settings = daemon.root / "etc/libvirt/libvirtd.conf"
    settings.write_text("max_clients = 'many'\n")
    daemon.process.send_signal(signal.SIGHUP)
    assert [daemon.notification(), daemon.notification()] == ["RELOADING=1", "READY=1"]
    settings.write_text("max_clients = 7\n")
    daemon.process.send_signal(signal.SIGHUP)
    assert [daemon.notification(), daemon.notification()] == ["RELOADING=1", "READY=1"]
    assert {row["restarts"] for row in daemon.status().values()} == {0}


def test_a_terminated_daemon_leaves_no_process_socket_or_pid_file(daemon: Running) -> None:
    rows = daemon.status()
    watched = [os.pidfd_open(int(str(row["pid"]))) for row in rows.values()]
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.notification() == "STOPPING=1"
    assert daemon.process.wait(DEADLINE_S) == 0
    for pidfd in watched:
        assert select.select([pidfd], [], [], DEADLINE_S)[0]
        os.close(pidfd)
    left = {path.name for path in (daemon.root / "run").rglob("*") if not path.is_dir()}
    assert not left & {"libvirtd.pid", "libvirt-sock", "libvirt-sock-ro", "virtvisor.sock"}
    hooked = (daemon.root / "hooked").read_text().splitlines()
    reloads = ["- reload begin SIGHUP"] * 2
    assert hooked == ["- start - start", *reloads, "- shutdown - shutdown"]
    log = (daemon.root / "stderr").read_text()
    assert "max_clients takes a number" in log
    assert " ERROR " in log
    assert " domd " in log
