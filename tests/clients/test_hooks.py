"""Hook scripts run at each step of a guest's life, and refuse the start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.clients.daemon import Daemon
from tests.clients.domains import idle

SCRIPT = """#!/bin/sh
folder=$(dirname "$0")
echo "$@" >>"$folder/told"
cat >"$folder/$2.xml"
[ ! -e "$folder/refuse-$2" ] || { echo "not on a Friday" >&2; exit 1; }
"""


@pytest.fixture
def hooked() -> Iterator[Daemon]:
    """A daemon with a hook script for guests."""
    daemon = Daemon()
    folder = daemon.root / "etc/libvirt/hooks"
    folder.mkdir(parents=True)
    script = folder / "qemu"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    with daemon:
        yield daemon


def folder_of(daemon: Daemon) -> Path:
    return daemon.root / "etc/libvirt/hooks"


def steps(daemon: Daemon) -> list[str]:
    """The script's arguments since the last call of this function."""
    file = folder_of(daemon) / "told"
    lines = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return lines


def define(daemon: Daemon, tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.xml"
    path.write_text(idle(name))
    daemon.ok("define", str(path))


def test_the_script_is_told_of_every_step_with_the_document(hooked: Daemon, tmp_path: Path) -> None:
    define(hooked, tmp_path, "told")
    hooked.ok("start", "told")
    assert steps(hooked) == [
        "told prepare begin -", "told start begin -", "told started begin -",
    ]  # fmt: skip
    document = ElementTree.fromstring((folder_of(hooked) / "started.xml").read_text())
    assert document.findtext("name") == "told"
    hooked.kill()
    hooked.start()
    # the new worker answers this itself, when it has taken the guest over
    assert '"running"' in hooked.ok("qemu-monitor-command", "told", '{"execute":"query-status"}')
    assert steps(hooked) == ["told reconnect begin -"]
    hooked.ok("destroy", "told")
    assert steps(hooked) == ["told stopped end -", "told release end -"]


@pytest.mark.parametrize("step", ["prepare", "start", "started"])
def test_a_script_that_refuses_a_step_ends_the_start(
    hooked: Daemon, tmp_path: Path, step: str
) -> None:
    define(hooked, tmp_path, "refused")
    refusal = folder_of(hooked) / f"refuse-{step}"
    refusal.touch()
    started = hooked.virsh("start", "refused")
    assert started.returncode == 1
    assert "Hook script execution failed" in started.stderr
    assert "not on a Friday" in started.stderr
    assert steps(hooked)[-1] == "refused release end -"
    assert not list(hooked.emulators())
    assert hooked.ok("domstate", "refused").strip() == "shut off"
    refusal.unlink()
    hooked.ok("start", "refused")


def test_a_script_that_fails_afterwards_holds_nothing_up(hooked: Daemon, tmp_path: Path) -> None:
    define(hooked, tmp_path, "late")
    for step in ("stopped", "release"):
        (folder_of(hooked) / f"refuse-{step}").touch()
    hooked.ok("start", "late")
    hooked.ok("destroy", "late")
    assert hooked.ok("domstate", "late").strip() == "shut off"
    assert "not on a Friday" in hooked.log.read_text()
