"""The daemon on the default paths, and the one of an ordinary user."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.daemon import LIBVIRTD, VIRSH, Notifications
from tests.clients.domains import idle
from tests.paths import PROJECT

NOBODY = 65534
PYTHON = "/usr/bin/python3"  # Debian's own, which every user may run
#: The folders that a daemon on the default paths uses; the test gives it empty ones of its own.
FOLDERS = (
    "/etc/libvirt", "/var/lib/libvirt", "/run/libvirt", "/var/cache/libvirt", "/var/log/libvirt",
)  # fmt: skip
STORY = """
set -eu
for folder in {folders}; do mkdir -p "$folder"; mount -t tmpfs test "$folder"; done
"{libvirtd}" --daemon --pid-file /run/libvirt/test.pid
trap 'kill "$(cat /run/libvirt/test.pid)"' EXIT
virsh -c qemu:///system uri
virsh -c qemu:///system define {xml}
virsh -c qemu:///system start usual
virsh list
virsh -r list --all
virsh -c qemu:///system destroy usual
virsh -c qemu:///system undefine usual
test -z "$(ls /etc/libvirt/qemu/*.xml 2>/dev/null)"
echo everything worked
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="the default paths are root's")
def test_the_default_paths_are_what_virsh_looks_for(tmp_path: Path) -> None:
    made = [folder for folder in FOLDERS if not os.path.exists(folder)]
    xml = tmp_path / "usual.xml"
    xml.write_text(idle("usual"))
    story = STORY.format(folders=" ".join(FOLDERS), libvirtd=LIBVIRTD, xml=xml)
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", story],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    for folder in made:  # the points that its own folders were mounted on
        os.rmdir(folder)
    assert "everything worked" in done.stdout, done.stdout + done.stderr
    assert "qemu:///system" in done.stdout


@pytest.fixture
def home() -> Iterator[Path]:
    """A home that an ordinary user can write to, and the project's code that it can read."""
    folder = Path(tempfile.mkdtemp(prefix="vv-home-", dir="/tmp"))
    folder.chmod(0o755)
    for package in ("supervisor", "ipc", "rpc", "conf"):
        shutil.copytree(PROJECT / package, folder / "code" / package)
    (folder / "run").mkdir()
    for path in (folder, folder / "run"):
        os.chown(path, NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="it takes root to be somebody else")
def test_an_ordinary_user_has_a_daemon_of_their_own(home: Path) -> None:
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    shutil.copytree(packages, home / "packages", ignore=shutil.ignore_patterns("pip*", "mypy*"))
    environ = {
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home / "run"),
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C",
        "PYTHONPATH": f"{home}/code:{home}/packages",
        "NOTIFY_SOCKET": str(home / "run/notify"),
    }
    notifications = Notifications(home / "run/notify")
    (home / "run/notify").chmod(0o777)
    daemon = subprocess.Popen(
        [PYTHON, "-m", "supervisor.root.main", "--verbose"],
        env=environ,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        cwd=home,
    )
    try:
        notifications.wait("READY=1", daemon, 20)
        xml = home / "mine.xml"
        xml.write_text(idle("mine"))
        network = home / "mynet.xml"
        network.write_text("<network><name>mynet</name><bridge name='vvmine'/></network>")

        def ask(uri: str, *words: str) -> str:
            """What stock virsh says to that user."""
            done = subprocess.run(
                [VIRSH, "-c", uri, *words],
                env=environ,
                user=NOBODY,
                group=NOBODY,
                extra_groups=[],
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
            return done.stdout + done.stderr

        for words, expected in (
            (["uri"], "qemu:///session"),
            (["define", str(xml)], "defined"),
            (["start", "mine"], "started"),
            (["list"], "running"),
            (["destroy", "mine"], "destroyed"),
            (["undefine", "mine"], "undefined"),
            (["net-define", str(network)], "defined"),
            (["net-start", "mynet"], "needs the system daemon"),
            (["net-undefine", "mynet"], "undefined"),
            (["pool-list", "--name"], "default"),
            (["vol-create-as", "default", "mine.qcow2", "1M", "--format", "qcow2"], "created"),
            (["vol-path", "mine.qcow2", "default"], "/libvirt/images/mine.qcow2"),
            (["pool-create-as", "n", "logical", "--source-name", "vg"], "needs the system daemon"),
        ):
            said = ask("qemu:///session", *words)
            assert expected in said, (words, said)
        socket = f"socket={home}/run/libvirt/libvirt-sock"
        assert "lxc state driver is not active" in ask(f"lxc+unix:///system?{socket}", "uri")
        assert "Unexpected LXC URI path" in ask(f"lxc+unix:///session?{socket}", "uri")
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(15)
        notifications.close()
