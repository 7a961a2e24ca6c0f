"""Containers started paused: init does not execute before the resume."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.container_daemon import Boxes, boxes, groups
from tests.clients.containers import container, lxc_uri
from tests.clients.event_watch import Watch, wait_until
from tests.clients.libvirt_binding import libvirt

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="containers take root's rights")

PAUSED = libvirt.VIR_DOMAIN_START_PAUSED
MARKING = "#!/bin/sh\ntrap 'exit 0' TERM\n: > /mark/ran\nwhile :; do sleep 9 & wait $!; done\n"
BRIDGE = (
    "<network><name>calm</name><bridge name='virbr10' stp='off' delay='0'/>"
    "<ip address='10.90.0.1' netmask='255.255.255.0'/></network>"
)
INTERFACE = (
    "<interface type='network'><source network='calm'/>"
    "<ip address='10.90.0.9' family='ipv4' prefix='24'/>"
    "<route family='ipv4' address='192.0.2.0' prefix='24' gateway='10.90.0.1'/></interface>"
)


@pytest.fixture(scope="module")
def box() -> Iterator[Boxes]:
    with boxes() as held:
        network = held.link.networkCreateXML(BRIDGE)
        mark = held.rootfs / "mark"
        mark.mkdir()
        mark.chmod(0o777)
        init = held.rootfs / "sbin/marking"
        init.write_text(MARKING)
        init.chmod(0o755)
        yield held
        held.end_all()
        network.destroy()


@pytest.fixture
def ran(box: Boxes) -> Callable[[], bool]:
    """Whether an init has executed its first instruction."""
    mark = box.rootfs / "mark/ran"
    mark.unlink(missing_ok=True)
    return mark.exists


def paused(box: Boxes, name: str, **words: Any) -> Any:
    """A container that was started paused; it is off the first time that it ends."""
    domain = box.link.defineXML(container(name, box.rootfs, init="/sbin/marking", **words))
    domain.createWithFlags(PAUSED)
    assert domain.state() == [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER]
    return domain


def at_gate(box: Boxes, name: str) -> int:
    """Who waits to be a container's init: still a copy of its monitor."""
    folder = box.daemon.root / f"run/libvirt/lxc/{name}.d"
    pid = int((folder / "gate.pid").read_text())
    monitor = int((folder / "pid").read_text())
    assert os.readlink(f"/proc/{pid}/exe") == os.readlink(f"/proc/{monitor}/exe")
    return pid


def test_nothing_runs_before_the_resume_and_all_after_it(
    box: Boxes, ran: Callable[[], bool]
) -> None:
    domain = paused(box, "calm", extra=INTERFACE)
    pid = at_gate(box, "calm")
    assert not ran()
    domain.resume()
    assert domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING
    wait_until("it has run", ran)
    assert os.readlink(f"/proc/{pid}/exe").endswith("busybox")
    seen = box.inside("calm", "/bin/ip", "addr") + box.inside("calm", "/bin/ip", "route")
    assert "10.90.0.9/24" in seen
    assert "192.0.2.0/24 via 10.90.0.1" in seen
    domain.suspend()
    domain.resume()
    domain.shutdown()
    wait_until("it is off", lambda: not domain.isActive())


def test_a_new_worker_can_resume_a_container_started_paused(
    box: Boxes, ran: Callable[[], bool]
) -> None:
    domain = paused(box, "taken")
    first = box.worker("taken")
    os.kill(first, signal.SIGKILL)
    wait_until("there is another worker", lambda: box.worker("taken") not in (0, first))
    assert domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED
    at_gate(box, "taken")
    assert not ran()
    domain.resume()
    wait_until("it has run", ran)
    domain.destroy()


def test_a_paused_container_that_is_destroyed_leaves_nothing(
    box: Boxes, ran: Callable[[], bool]
) -> None:
    domain = paused(box, "ended", extra=INTERFACE)
    pid = at_gate(box, "ended")
    domain.destroy()
    assert not ran()
    wait_until("it has gone", lambda: not Path(f"/proc/{pid}").exists())
    assert groups("ended") == []
    assert not (box.daemon.root / "run/libvirt/lxc/ended.d").exists()
    assert domain.state()[1] == libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED


def test_a_missing_init_is_reported_at_the_resume(box: Boxes) -> None:
    domain = box.link.defineXML(container("none", box.rootfs, init="/sbin/nowhere"))
    domain.createWithFlags(PAUSED)
    with pytest.raises(libvirt.libvirtError, match="cannot find init path '/sbin/nowhere'"):
        domain.resume()
    wait_until("it is off", lambda: not domain.isActive())
    assert domain.state() == [libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_FAILED]
    assert groups("none") == []


def test_calls_that_need_init_are_refused_before_the_resume(box: Boxes) -> None:
    domain = paused(box, "early")
    calls: list[Callable[[], object]] = [
        domain.shutdown,
        lambda: domain.reboot(),
        lambda: domain.attachDevice(INTERFACE),
        lambda: domain.openConsole(None, box.link.newStream(), 0),
    ]
    for call in calls:
        with pytest.raises(libvirt.libvirtError, match="was started paused: resume it") as refused:
            call()
        assert refused.value.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID
    domain.destroy()


def test_a_paused_autodestroy_container_stops_with_its_client(box: Boxes) -> None:
    watch = Watch(box.link)
    other = libvirt.open(lxc_uri(box.daemon))
    other.createXML(container("bound", box.rootfs), PAUSED | libvirt.VIR_DOMAIN_START_AUTODESTROY)
    other.close()
    watch.wait_for("bound", libvirt.VIR_DOMAIN_EVENT_STOPPED, 1)
    watch.close()
    wait_until("its groups are gone", lambda: groups("bound") == [])
