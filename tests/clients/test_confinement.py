"""What each process of the tree may do, as the kernel tells it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from supervisor.runtime.capabilities import mask_of, permitted_capabilities
from supervisor.workers.qemu.worker_limits import KEPT
from tests.clients.daemon import Daemon
from tests.clients.domains import idle
from tests.clients.event_watch import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root's processes are confined")
SYS_MODULE = 16
HOOK = "#!/bin/sh\n[ $2 != start ] || grep CapEff /proc/self/status >{}\nexit 0\n"


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {line.partition(":")[0]: line.partition(":")[2].strip() for line in lines}


def processes(daemon: Daemon) -> dict[str, int]:
    return {row["name"]: row["pid"] for row in daemon.status() if row["pid"]}


def worker_status(daemon: Daemon) -> dict[str, str]:
    """That of the guest's worker, which is replaced by a fresh one when it is idle."""
    found: list[dict[str, str]] = []

    def is_found() -> bool:
        with contextlib.suppress(KeyError, OSError):
            found.append(status(processes(daemon)["qemu:confined"]))
        # A fresh worker has the daemon's capabilities until it has its configuration.
        return bool(found) and int(found[-1]["CapEff"], 16) != permitted_capabilities()

    wait_until("the worker has its capabilities", is_found)
    return found[-1]


def started(daemon: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "domain.xml"
    path.write_text(idle("confined"))
    daemon.ok("create", str(path))


def check_confined(daemon: Daemon) -> None:
    pids = processes(daemon)
    own = os.readlink("/proc/self/ns/net")
    for name in ("rpcd", "domd", "lxcd", "hostd", "netd", "stord", "logd"):
        fields = status(pids[name])
        assert fields["Seccomp"] == "2", name
        assert fields["NoNewPrivs"] == "1", name
        assert fields["CapBnd"] == fields["CapPrm"], name
        empty = os.readlink(f"/proc/{pids[name]}/ns/net") != own
        assert empty == (name in ("rpcd", "logd")), name
    rpcd = status(pids["rpcd"])
    assert (rpcd["Uid"].split()[0], int(rpcd["CapPrm"], 16)) == ("65534", 0)
    worker = worker_status(daemon)
    kept = mask_of(KEPT) & permitted_capabilities()
    assert int(worker["CapPrm"], 16) == int(worker["CapEff"], 16) == kept
    assert int(worker["CapBnd"], 16) & ~mask_of(KEPT) == 0
    assert worker["Seccomp"] == "2"
    (emulator,) = daemon.emulators()
    assert int(status(emulator)["CapPrm"], 16) == 0
    assert status(emulator)["Seccomp"] == "2"


def test_every_process_is_confined_and_so_is_its_successor(tmp_path: Path) -> None:
    with Daemon() as daemon:
        started(daemon, tmp_path)
        check_confined(daemon)
        daemon.kill()
        daemon.start()
        assert "running" in daemon.ok("domstate", "confined")
        check_confined(daemon)
        daemon.ok("destroy", "confined")


def test_a_hook_script_has_all_of_the_daemons_rights_and_the_worker_has_not(
    tmp_path: Path,
) -> None:
    with Daemon() as daemon:
        hook, seen = daemon.root / "etc/libvirt/hooks/qemu", daemon.root / "seen"
        hook.parent.mkdir(parents=True, exist_ok=True)
        hook.write_text(HOOK.format(seen))
        hook.chmod(0o755)
        started(daemon, tmp_path)
        assert int(seen.read_text().split()[1], 16) == permitted_capabilities()
        worker = worker_status(daemon)
        assert not int(worker["CapEff"], 16) >> SYS_MODULE & 1
        assert worker["Seccomp"] == "0"  # a filter could not be taken off for the script
        daemon.ok("destroy", "confined")
