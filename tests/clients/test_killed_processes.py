"""Any process of the daemon may be killed at any time, and nothing is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.clients.call_loop import CallLoop
from tests.clients.daemon import Daemon
from tests.clients.domains import idle
from tests.clients.event_watch import EventLoop, Watch, wait_until
from tests.clients.libvirt_binding import libvirt, libvirt_qemu

DEFINED = 5


@pytest.fixture
def own() -> Iterator[Daemon]:
    """A daemon that the test may kill."""
    EventLoop.start()
    with Daemon() as running:
        yield running


def pid_of(daemon: Daemon, name: str) -> int:
    return next(int(row["pid"]) for row in daemon.status() if row["name"] == name)


def runs_anew(daemon: Daemon, name: str, former: int) -> bool:
    rows = [row for row in daemon.status() if row["name"] == name]
    return bool(rows) and rows[0]["state"] == "running" and rows[0]["pid"] != former


def populate(daemon: Daemon) -> tuple[str, list[int]]:
    """Definitions and one running guest; its live document and emulator."""
    link = libvirt.open(daemon.uri)
    for number in range(DEFINED):
        link.defineXML(idle(f"kept-{number}"))
    guest = link.defineXML(idle("runner"))
    guest.create()
    live = guest.XMLDesc(0)
    link.close()
    return live, list(daemon.emulators())


def check_whole(daemon: Daemon, live: str, emulators: list[int]) -> None:
    """The same guest runs with the same document, answers on its monitor, and events flow."""
    assert list(daemon.emulators()) == emulators
    link = libvirt.open(daemon.uri)
    names = {domain.name() for domain in link.listAllDomains()}
    assert names == {"runner", *(f"kept-{number}" for number in range(DEFINED))}
    guest = link.lookupByName("runner")
    assert guest.XMLDesc(0) == live

    def answers() -> bool:
        try:
            command = '{"execute":"query-status"}'
            return "running" in libvirt_qemu.qemuMonitorCommand(guest, command, 0)
        except libvirt.libvirtError:
            return False

    wait_until("the guest's monitor answers", answers)
    watch = Watch(link)
    guest.suspend()
    event, detail = libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED
    watch.wait_for("runner", event, detail)
    guest.resume()
    watch.close()
    stream = link.newStream(libvirt.VIR_STREAM_NONBLOCK)
    guest.openConsole(None, stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
    stream.abort()
    guest.destroy()
    assert not list(daemon.emulators())
    link.close()


@pytest.mark.parametrize("victim", ["qemu:runner", "domd", "hostd", "rpcd", "zygote"])
def test_a_killed_process_costs_at_most_one_connection(own: Daemon, victim: str) -> None:
    live, emulators = populate(own)
    with CallLoop(own.uri, "runner") as loop:
        loop.wait_answers(20)
        former = pid_of(own, victim)
        os.kill(former, signal.SIGKILL)
        wait_until(f"{victim} runs again", lambda: runs_anew(own, victim, former))
        loop.wait_answers(20)
    assert loop.wrong == []
    assert len(loop.errors) <= 1, loop.errors
    check_whole(own, live, emulators)


def test_a_killed_root_is_whole_again_when_it_is_started(own: Daemon) -> None:
    live, emulators = populate(own)
    with CallLoop(own.uri, "runner") as loop:
        loop.wait_answers(20)
        own.kill()
        own.start()
        loop.wait_answers(20)
    assert loop.wrong == []
    assert len(loop.errors) <= 1, loop.errors
    check_whole(own, live, emulators)


def test_a_guest_that_died_while_nobody_looked_is_off(own: Daemon) -> None:
    populate(own)
    own.kill()
    for pid in list(own.emulators()):
        os.kill(pid, signal.SIGKILL)
    wait_until("the emulator is gone", lambda: not list(own.emulators()))
    own.start()
    link = libvirt.open(own.uri)
    guest = link.lookupByName("runner")
    assert guest.state() == [libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED]
    guest.create()
    assert guest.isActive()
    guest.destroy()
    link.close()


def test_definitions_survive_the_whole_daemon(own: Daemon) -> None:
    link = libvirt.open(own.uri)
    link.defineXML(idle("durable"))
    link.lookupByName("durable").setAutostart(1)
    link.close()
    own.kill()
    own.start()
    link = libvirt.open(own.uri)
    assert link.lookupByName("durable").autostart() == 1
    link.close()
