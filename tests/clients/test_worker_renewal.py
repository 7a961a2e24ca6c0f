"""A worker that has started a guest is replaced by a smaller one, and clients notice nothing."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from tests.clients.daemon import Daemon
from tests.clients.domains import idle
from tests.clients.event_watch import Watch, wait_until
from tests.clients.libvirt_binding import libvirt

MOST_KIB = 6144  # private memory of an idle worker; 5400 measured
MOST_S = 1.0  # of a query beside a renewal, on a machine that does other work


def worker(daemon: Daemon, name: str) -> dict[str, Any]:
    """The row of a worker in the process list; empty between two processes."""
    rows = (row for row in daemon.status() if row["name"] == f"qemu:{name}")
    return next(rows, {"pid": 0, "private_kib": 0, "state": "", "restarts": 0})


def test_an_idle_worker_is_renewed_beside_queries_and_serves_its_guest(
    daemon: Daemon, link: Any
) -> None:
    domain = link.createXML(idle("renewed"), 0)
    first = worker(daemon, "renewed")
    longest = 0.0

    def is_renewed() -> bool:
        nonlocal longest
        for ask in (domain.info, domain.state, domain.XMLDesc, domain.jobInfo):
            began = time.monotonic()
            ask()
            longest = max(longest, time.monotonic() - began)
        now = worker(daemon, "renewed")
        return now["pid"] not in (0, first["pid"]) and now["state"] == "running"

    wait_until("the worker is renewed", is_renewed, 20)
    second = worker(daemon, "renewed")
    assert second["restarts"] == 0
    assert second["private_kib"] <= MOST_KIB < first["private_kib"]
    assert longest < MOST_S

    suspended = (libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED)
    watch = Watch(link)
    domain.suspend()
    watch.wait_for("renewed", *suspended)
    assert domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED
    domain.resume()
    domain.setMemoryStatsPeriod(2)
    assert "period='2'" in domain.XMLDesc()
    pid = int((daemon.root / "run/libvirt/qemu/renewed.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    off = (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN)
    watch.wait_for("renewed", *off)
    watch.close()
