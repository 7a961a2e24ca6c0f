"""virtiofsd and swtpm: they begin with the guest, outlive its worker and end with the guest."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.clients.daemon import PATIENCE, Daemon
from tests.clients.domains import idle

#: Debian 13 has a link to its own place here.
VIRTIOFSD = Path("/usr/lib/qemu/virtiofsd").resolve()
SWTPM = Path("/usr/bin/swtpm")
SHARED = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"
FOLDER = (
    "<filesystem type='mount'><driver type='virtiofs'/><source dir='{}'/><target dir='s'/>"
    "</filesystem>"
)
TPM = "<tpm model='tpm-crb'><backend type='emulator' version='2.0'{}/></tpm>"

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="virtiofsd and swtpm change users under root"),
    pytest.mark.skipif(not VIRTIOFSD.exists() or not SWTPM.exists(), reason="not installed"),
]


def serving(daemon: Daemon) -> list[str]:
    """The programs beside QEMU that serve this daemon's guests."""
    mark = f"LIBVIRT_DOMAIN_DIR={daemon.root}/".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes().split(b"\0")[0].decode())
        except OSError:
            continue
    return sorted(set(found))


def until_none_serves(daemon: Daemon) -> None:
    """Wait until they have gone: a forked sandbox of virtiofsd ends a moment later."""
    until = time.monotonic() + 5 * PATIENCE
    while serving(daemon):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_they_outlive_the_worker_and_end_with_the_guest(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)
    path = tmp_path / "domain.xml"
    path.write_text(idle("served", devices=FOLDER.format(tmp_path) + TPM.format(""), top=SHARED))
    with Daemon() as daemon:
        daemon.ok("define", str(path))
        daemon.ok("start", "served")
        both = [str(SWTPM), str(VIRTIOFSD)]
        assert serving(daemon) == both
        worker = next(row["pid"] for row in daemon.status() if row["name"] == "qemu:served")
        os.kill(worker, signal.SIGKILL)
        assert daemon.ok("domstate", "served").strip() == "running"
        assert serving(daemon) == both
        daemon.ok("destroy", "served")
        until_none_serves(daemon)
        states = list((daemon.root / "var/lib/libvirt/swtpm").glob("*/tpm2/*"))
        assert states
        daemon.ok("start", "served")  # with the same TPM
        daemon.ok("destroy", "served")
        daemon.ok("undefine", "served")
        assert not any(state.exists() for state in states)


def test_the_state_of_a_tpm_is_kept_where_the_client_or_the_document_says_so(
    tmp_path: Path,
) -> None:
    with Daemon() as daemon:
        for name, attributes, flags in (
            ("kept", "", ["--keep-tpm"]),
            ("persistent", " persistent_state='yes'", []),
            ("gone", " persistent_state='yes'", ["--tpm"]),
        ):
            path = tmp_path / f"{name}.xml"
            path.write_text(idle(name, devices=TPM.format(attributes)))
            daemon.ok("define", str(path))
            daemon.ok("start", name)
            daemon.ok("destroy", name)
            daemon.ok("undefine", name, *flags)
            found = list((daemon.root / "var/lib/libvirt/swtpm").glob("*/tpm2"))
            assert len(found) == {"kept": 1, "persistent": 2, "gone": 2}[name]


def test_a_failed_start_leaves_none_of_them(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)
    path = tmp_path / "domain.xml"
    broken = "<rng model='virtio'><backend model='random'>/nowhere</backend></rng>"
    path.write_text(idle("broken", devices=FOLDER.format(tmp_path) + broken, top=SHARED))
    with Daemon() as daemon:
        daemon.ok("define", str(path))
        assert daemon.virsh("start", "broken").returncode != 0
        until_none_serves(daemon)
