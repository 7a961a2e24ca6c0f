"""A whole Debian in an unprivileged container: systemd, a login, the network, limits, its ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.container_daemon import Boxes, boxes, groups
from tests.clients.containers import container
from tests.clients.debian_console import (
    BOOT_S,
    INTERFACE,
    NETWORK,
    addresses,
    failed,
    login,
    run_command,
)
from tests.clients.debian_root import copy_debian_root, debian_root
from tests.clients.event_watch import Watch, wait_until
from tests.clients.libvirt_binding import libvirt


@pytest.fixture(scope="module")
def box() -> Iterator[Boxes]:
    """A daemon of containers with a network, and a Debian that runs."""
    debian_root()  # here the mirror is in reach; among the boxes it is not
    with boxes() as held:
        root = copy_debian_root(held.rootfs.parent / "debian")
        network = held.link.networkCreateXML(NETWORK)
        xml = container("debian", root, extra=INTERFACE).replace("'MiB'>128", "'MiB'>256")
        domain = held.link.defineXML(xml)
        domain.create()
        try:
            yield held
        finally:
            held.end_all()
            network.destroy()


@pytest.fixture
def debian(box: Boxes) -> Any:
    """The container, running."""
    return box.link.lookupByName("debian")


def test_root_logs_in_at_the_console_of_a_systemd(box: Boxes) -> None:
    with login(box) as console:
        assert "systemd" in run_command(console, "cat /proc/1/comm")
        assert run_command(console, "cat /etc/debian_version").startswith("12")
        assert run_command(console, "cat /proc/self/uid_map").split() == ["0", "200000", "65536"]
        assert failed(console) == []


def test_its_address_is_the_network_s_and_packets_go_there(box: Boxes, debian: Any) -> None:
    with login(box) as console:
        wait_until("it has an address", lambda: bool(addresses(console)), BOOT_S)
        network = box.link.networkLookupByName("nat")
        wait_until("netd knows of the lease", lambda: bool(network.DHCPLeases()))
        assert [lease["ipaddr"] for lease in network.DHCPLeases()] == addresses(console)
        assert ", 0% packet loss" in run_command(console, "ping -c 2 -i 0.2 10.88.0.1")
        (card,) = debian.interfaceAddresses(0).values()
        assert [found["addr"] for found in card["addrs"]] == addresses(console)


def test_a_program_beyond_the_memory_limit_ends_alone(box: Boxes, debian: Any) -> None:
    with login(box) as console:
        assert run_command(console, "(tail /dev/zero); echo status $?").split()[-1] == "137"
        assert run_command(console, "systemctl is-active systemd-journald").strip() == "active"
    assert debian.isActive()


def test_what_is_suspended_stands_still(box: Boxes) -> None:
    ticks = box.rootfs.parent / "debian/root/ticks"
    with login(box) as console:
        run_command(console, "(while :; do echo >> /root/ticks; sleep 0.01; done) & true")
        wait_until("it counts", ticks.exists)
        box.virsh("suspend", "debian")
        before = ticks.stat().st_size
        time.sleep(0.3)  # what would have been thirty more
        assert ticks.stat().st_size == before
        assert box.virsh("domstate", "debian", "--reason").split() == ["paused", "(user)"]
        box.virsh("resume", "debian")
        wait_until("it goes on", lambda: ticks.stat().st_size > before)
        run_command(console, "kill %1")


def test_a_reboot_brings_a_new_systemd_in_the_same_domain(box: Boxes, debian: Any) -> None:
    boots = "cat /proc/1/stat | cut -d' ' -f22"
    watch = Watch(box.link, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT)
    with login(box) as console:
        number, began = debian.ID(), run_command(console, boots)
    box.virsh("reboot", "debian")
    watch.expect("debian")
    watch.close()
    with login(box) as console:
        assert run_command(console, boots) != began
        assert failed(console) == []
        wait_until("it has an address", lambda: bool(addresses(console)), BOOT_S)
    assert debian.ID() == number


def test_a_shutdown_is_systemd_s_own_and_leaves_nothing(box: Boxes, debian: Any) -> None:
    with login(box) as console:
        assert failed(console) == []
    watch = Watch(box.link)
    box.virsh("shutdown", "debian")
    stopped = libvirt.VIR_DOMAIN_EVENT_STOPPED
    watch.wait_for("debian", stopped, libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN)
    watch.close()
    assert not debian.isActive()
    assert box.virsh("domstate", "debian", "--reason").split() == ["shut", "off", "(shutdown)"]
    assert groups("debian") == []
