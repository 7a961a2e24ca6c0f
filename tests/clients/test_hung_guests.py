"""A guest whose QEMU is stopped blocks neither other guests nor its own destroy."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.daemon import Daemon
from tests.clients.domains import idle
from tests.clients.libvirt_binding import libvirt


@pytest.fixture
def link(daemon: Daemon) -> Iterator[Any]:
    """A connection with three guests, the one called "hung" stopped by SIGSTOP."""
    connection = libvirt.open(daemon.uri)
    for name in ("before", "hung", "after"):
        connection.createXML(idle(name), 0)
    os.kill(emulator(daemon, "hung"), signal.SIGSTOP)
    yield connection
    for pid in daemon.emulators():
        os.kill(pid, signal.SIGCONT)
    for domain in connection.listAllDomains():
        domain.destroy()
    connection.close()


def emulator(daemon: Daemon, name: str) -> int:
    """The process of a guest."""
    return int((daemon.root / f"run/libvirt/qemu/{name}.pid").read_text())


def test_statistics_of_the_other_guests_are_returned(link: Any) -> None:
    stats = {domain.name(): found for domain, found in link.getAllDomainStats()}
    assert set(stats) == {"before", "hung", "after"}
    for name in ("before", "after"):
        assert stats[name]["balloon.rss"] > 0
        assert stats[name]["vcpu.0.time"] >= 0
    assert stats["hung"]["state.state"] == libvirt.VIR_DOMAIN_RUNNING
    assert "vcpu.0.state" not in stats["hung"]


def test_a_call_that_needs_qemu_fails_naming_the_domain(link: Any) -> None:
    with pytest.raises(libvirt.libvirtError, match="hung") as refused:
        link.lookupByName("hung").memoryStats()
    code = refused.value.get_error_code()
    assert code in (libvirt.VIR_ERR_OPERATION_TIMEOUT, libvirt.VIR_ERR_AGENT_UNRESPONSIVE)
    assert link.lookupByName("before").memoryStats()["actual"] > 0


def test_a_hung_guest_is_listed_and_destroyed(daemon: Daemon, link: Any) -> None:
    hung = link.lookupByName("hung")
    assert hung.info()[0] == libvirt.VIR_DOMAIN_RUNNING
    assert "<domain" in hung.XMLDesc()
    pid = emulator(daemon, "hung")
    hung.destroy()
    assert not Path(f"/proc/{pid}").exists()
    assert sorted(domain.name() for domain in link.listAllDomains()) == ["after", "before"]


def test_a_guest_that_continues_executes_commands_again(daemon: Daemon, link: Any) -> None:
    hung = link.lookupByName("hung")
    with pytest.raises(libvirt.libvirtError):
        hung.suspend()
    os.kill(emulator(daemon, "hung"), signal.SIGCONT)
    hung.suspend()
    assert hung.state()[0] == libvirt.VIR_DOMAIN_PAUSED
