"""Containers that are suspended, crash or are many while processes of the daemon are killed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.container_daemon import Boxes, boxes, groups
from tests.clients.containers import container, lxc_uri
from tests.clients.event_watch import Watch, wait_until
from tests.clients.libvirt_binding import libvirt

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="containers take root's rights")

PAUSED, RUNNING = libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_RUNNING
MANY = 24


@pytest.fixture(scope="module")
def box() -> Iterator[Boxes]:
    with boxes() as held:
        yield held


@pytest.fixture(autouse=True)
def no_container_is_left(box: Boxes) -> Iterator[None]:
    yield
    if not box.link.isAlive():
        box.link = libvirt.open(lxc_uri(box.daemon))
    box.end_all()
    assert list((box.daemon.root / "run/libvirt/lxc").glob("*.d")) == []


def kill(box: Boxes, victim: str) -> None:
    """Kill a process of the tree and wait until another is there."""
    if victim == "root":
        box.daemon.kill()
        box.daemon.start()
        box.link = libvirt.open(lxc_uri(box.daemon))
        return
    first = pid_of(box, victim)
    os.kill(first, signal.SIGKILL)
    wait_until("there is another", lambda: pid_of(box, victim) not in (0, first))


def pid_of(box: Boxes, name: str) -> int:
    """A running process's number; 0: it does not run just now."""
    rows = (row for row in box.daemon.status() if row["name"] == name)
    return next((int(row["pid"]) for row in rows if row["state"] == "running"), 0)


@pytest.mark.parametrize("victim", ["lxc:still", "lxcd", "root"])
def test_a_suspended_container_stays_suspended_after_a_kill(box: Boxes, victim: str) -> None:
    domain = box.link.defineXML(container("still", box.rootfs))
    domain.create()
    domain.suspend()
    kill(box, victim)
    domain = box.link.lookupByName("still")
    wait_until("its state is known", lambda: domain.state() == [PAUSED, 1])
    domain.resume()
    assert domain.state()[0] == RUNNING
    assert box.inside("still", "/bin/echo", "here").strip() == "here"


@pytest.mark.parametrize("victim", ["lxc:ends", "lxcd"])
def test_a_shutdown_continues_when_a_process_of_the_daemon_is_killed(
    box: Boxes, victim: str
) -> None:
    init = box.rootfs / "sbin/slow"
    init.write_text("#!/bin/sh\ntrap 'sleep 1; exit 0' TERM\nwhile :; do sleep 9 & wait $!; done\n")
    init.chmod(0o755)
    domain = box.link.defineXML(container("ends", box.rootfs, init="/sbin/slow"))
    domain.create()
    domain.shutdown()
    kill(box, victim)
    wait_until("it is off", lambda: not domain.isActive())
    assert domain.state()[1] == libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN
    assert groups("ends") == []


def crash(box: Boxes, name: str) -> None:
    """End a container without its init's doing: its monitor dies."""
    monitor = int((box.daemon.root / f"run/libvirt/lxc/{name}.pid").read_text())
    os.kill(monitor, signal.SIGKILL)


@pytest.mark.parametrize("action", ["destroy", "preserve", "restart", "rename-restart"])
def test_on_crash_is_obeyed_when_a_container_crashes(box: Boxes, action: str) -> None:
    xml = container("crashes", box.rootfs)
    domain = box.link.defineXML(xml.replace("<devices>", f"<on_crash>{action}</on_crash><devices>"))
    domain.create()
    first, watch = domain.ID(), Watch(box.link)
    crash(box, "crashes")
    watch.wait_for("crashes", libvirt.VIR_DOMAIN_EVENT_STOPPED, 2)
    if action in ("restart", "rename-restart"):
        watch.wait_for("crashes", libvirt.VIR_DOMAIN_EVENT_STARTED, 0)
        assert box.link.lookupByName("crashes").ID() != first
    else:
        assert not domain.isActive()
        assert domain.state()[1] == libvirt.VIR_DOMAIN_SHUTOFF_CRASHED
        assert groups("crashes") == []
    watch.close()


def descriptors(box: Boxes) -> dict[str, int]:
    """How many descriptors each process that stays has open."""
    rows = [row for row in box.daemon.status() if row["name"] in ("root", "zygote", "lxcd")]
    return {row["name"]: len(list(Path(f"/proc/{row['pid']}/fd").iterdir())) for row in rows}


def test_many_containers_destroyed_during_their_starts_leave_nothing(box: Boxes) -> None:
    names = [f"many{number}" for number in range(MANY)]
    domains = [box.link.defineXML(container(name, box.rootfs)) for name in names]
    domains[0].create()
    domains[0].destroy()
    before, errors = descriptors(box), list[str]()

    def start(domain: Any) -> None:
        try:
            domain.create()
        except libvirt.libvirtError as refused:
            errors.append(str(refused))

    threads = [threading.Thread(target=start, args=(domain,)) for domain in domains]
    for thread in threads:
        thread.start()
    other = libvirt.open(lxc_uri(box.daemon))
    for name in names:
        try:
            other.lookupByName(name).destroy()
        except libvirt.libvirtError as refused:  # it had not begun
            errors.append(str(refused))
    for thread in threads:
        thread.join(60)
    other.close()
    assert all("while it was started" in action or "not running" in action for action in errors), (
        errors
    )
    for domain in domains:
        if domain.isActive():
            domain.destroy()
    assert groups("many*") == []

    def is_settled() -> bool:  # before, the first container's worker may not have been reaped yet
        return all(count <= before[name] for name, count in descriptors(box).items())

    wait_until("no process has more descriptors than before", is_settled)
