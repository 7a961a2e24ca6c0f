"""libvirt-guests: what it asks virsh to do when the host ends and starts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from installer.install import SOURCE

SCRIPT = SOURCE / "files/libvirt-guests"
#: A virsh with one persistent and one transient guest, whose states are files.
VIRSH = """#!/bin/sh
state=$(dirname "$0")
[ "$1" != -c ] || shift 2
echo "$*" >>"$state/calls"
case "$1 $*" in
    uri*) echo qemu:///system ;;
    *--persistent*) [ ! -e "$state/kept" ] || echo uuid-kept ;;
    *--transient*) [ ! -e "$state/brief" ] || echo uuid-brief ;;
    domname*) echo "${2#uuid-}" ;;
    domstate*) if [ -e "$state/${2#uuid-}" ]; then echo running; else echo "shut off"; fi ;;
    dominfo*) if [ -e "$state/saved" ]; then echo "Managed save:   yes"; fi ;;
    managedsave*) for guest; do :; done; rm "$state/${guest#uuid-}"; touch "$state/saved" ;;
    shutdown*) [ -e "$state/deaf" ] || rm "$state/${2#uuid-}" ;;
    start*) for guest; do :; done; touch "$state/${guest#uuid-}"
        if [ -e "$state/lost" ]; then echo "error: Domain is already active" >&2; exit 1; fi ;;
esac
"""


@pytest.fixture
def host(tmp_path: Path) -> Path:
    (tmp_path / "virsh").write_text(VIRSH)
    (tmp_path / "virsh").chmod(0o755)
    for guest in ("kept", "brief"):
        (tmp_path / guest).touch()
    return tmp_path


def run(host: Path, action: str, **settings: str) -> str:
    """Run the script; what it printed, errors too."""
    environment = {"PATH": f"{host}:{os.environ['PATH']}", "LISTFILE": str(host / "list")}
    done = subprocess.run(
        ["sh", str(SCRIPT), action],
        env={**environment, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout + done.stderr


def calls(host: Path, *names: str) -> list[str]:
    lines = (host / "calls").read_text().splitlines()
    return [line for line in lines if line.split()[0] in names]


def test_persistent_guests_are_saved_and_resumed(host: Path) -> None:
    assert "brief is transient: it cannot be saved" in run(host, "stop", BYPASS_CACHE="1")
    assert calls(host, "managedsave") == ["managedsave --bypass-cache uuid-kept"]
    assert (host / "list").read_text() == "default uuid-kept \n"
    run(host, "start", SYNC_TIME="1")
    assert calls(host, "start", "domtime") == ["start uuid-kept", "domtime --sync uuid-kept"]
    assert not (host / "list").exists()


def test_a_saved_guest_is_resumed_whatever_on_boot_says(host: Path) -> None:
    run(host, "stop")
    run(host, "start", ON_BOOT="ignore")
    assert calls(host, "start") == ["start uuid-kept"]


def test_a_guest_that_was_shut_down_is_not_started_with_on_boot_ignore(host: Path) -> None:
    run(host, "stop", ON_SHUTDOWN="shutdown")
    run(host, "start", ON_BOOT="ignore")
    assert calls(host, "start", "shutdown") == ["shutdown uuid-kept", "shutdown uuid-brief"]


def test_a_guest_that_autostart_has_started_is_left_alone(host: Path) -> None:
    run(host, "stop")
    (host / "kept").touch()
    run(host, "start")
    assert calls(host, "start") == []


def test_a_guest_that_autostart_starts_at_the_same_time_is_no_error(
    host: Path,
) -> None:
    run(host, "stop")
    (host / "lost").touch()
    assert "error" not in run(host, "start", SYNC_TIME="1")
    assert calls(host, "start", "domtime") == ["start uuid-kept"]


@pytest.mark.parametrize("at_a_time", ["0", "2"])
def test_a_guest_that_does_not_shut_down_is_named_after_the_timeout(
    host: Path, at_a_time: str
) -> None:
    (host / "deaf").touch()
    settings = {"SHUTDOWN_TIMEOUT": "1", "PARALLEL_SHUTDOWN": at_a_time}
    printed = run(host, "stop", ON_SHUTDOWN="shutdown", **settings)
    for guest in ("kept", "brief"):
        assert f"{guest} did not shut down in time" in printed


def test_another_action_is_refused() -> None:
    done = subprocess.run(["sh", str(SCRIPT), "restart"], capture_output=True, timeout=10)
    assert done.returncode == 2
